import { type Material, mutateBytes } from './byte-mutation.ts'
import { mutateJson } from './json-mutation.ts'
import { pickLayer } from './layers.ts'
import type { Random } from './random.ts'

const deepestLayer = 4

/** `bytes` after one or a few random changes, on the surface or in something that is encoded in them. */
export function mutate(bytes: Uint8Array, random: Random, material: Material): Buffer {
  let result: Buffer = Buffer.from(bytes)
  const changes = 1 + random.below(random.pick([1, 2, 4, 8]))
  for (let change = 0; change < changes; change += 1) result = changed(result, random, material, 0)
  return result
}

function changed(bytes: Buffer, random: Random, material: Material, depth: number): Buffer {
  if (depth < deepestLayer && random.below(5) < 3) {
    const layer = pickLayer(bytes, random)
    if (layer !== undefined) return layer.encode(changed(layer.content, random, material, depth + 1))
  }
  if (random.chance(2)) {
    const json = mutateJson(bytes, random, material)
    if (json !== undefined) return json
  }
  return mutateBytes(bytes, random, material)
}
