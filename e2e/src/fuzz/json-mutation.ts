/** Changes to the tree of a JSON text: members removed, repeated, moved, replaced. */
import type { Material } from './byte-mutation.ts'
import type { Random } from './random.ts'

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

const largestText = 64 * 1024

/** `bytes` with one change to its tree; undefined when they are no JSON object or array. */
export function mutateJson(bytes: Buffer, random: Random, { words, other }: Material): Buffer | undefined {
  const tree = read(bytes)
  if (tree === undefined) return undefined
  const container = random.pick(containersOf(tree))
  if (Array.isArray(container)) changeArray(container, random, words, other)
  else changeObject(container, random, words, other)
  return Buffer.from(JSON.stringify(tree))
}

function read(bytes: Uint8Array): Json[] | { [name: string]: Json } | undefined {
  if ((bytes[0] !== 0x7b && bytes[0] !== 0x5b) || bytes.length > largestText) return undefined
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
}

function containersOf(tree: Json): (Json[] | { [name: string]: Json })[] {
  if (typeof tree !== 'object' || tree === null) return []
  // arrays of numbers are bytes: one place in them is enough
  if (Array.isArray(tree) && typeof tree[0] === 'number') return [tree]
  return [tree, ...Object.values(tree).slice(0, 200).flatMap(containersOf)]
}

function changeArray(array: Json[], random: Random, words: readonly string[], other: Uint8Array): void {
  const at = random.below(array.length + 1)
  switch (random.below(5)) {
    case 0:
      array.splice(at, 1)
      break
    case 1:
      array.splice(at, 0, ...array.slice(at, at + 1 + random.below(8)))
      break
    case 2:
      array.splice(at, 1, anyValue(random, words, other))
      break
    case 3:
      array.splice(at, 0, anyValue(random, words, other))
      break
    default:
      array.reverse()
  }
}

function changeObject(
  object: { [name: string]: Json },
  random: Random,
  words: readonly string[],
  other: Uint8Array,
): void {
  const names = Object.keys(object)
  const name = names.length === 0 ? 'a' : random.pick(names)
  switch (random.below(6)) {
    case 0:
      delete object[name]
      break
    case 1:
      set(object, name, anyValue(random, words, other))
      break
    case 2:
      set(object, words.length === 0 ? 'b' : random.pick(words), anyValue(random, words, other))
      break
    case 3:
      set(object, names.length === 0 ? 'c' : random.pick(names), object[name] ?? null)
      break
    case 4:
      set(object, words.length === 0 ? 'd' : random.pick(words), object[name] ?? null)
      delete object[name]
      break
    default:
      set(object, name, random.chance(2) ? [object[name] ?? null] : { [name]: object[name] ?? null })
  }
}

/** Also `__proto__` is to be an ordinary member. */
function set(object: object, name: string, value: Json): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

function anyValue(random: Random, words: readonly string[], other: Uint8Array): Json {
  switch (random.below(5)) {
    case 0:
      return random.pick<Json>([
        null,
        true,
        false,
        0,
        -1,
        1.5,
        255,
        256,
        65536,
        2 ** 53,
        1e300,
        '',
        [],
        {},
        [[]],
      ])
    case 1:
      return words.length === 0 ? 'x' : random.pick(words)
    case 2:
      return random.pick([
        '00',
        'AA==',
        'AAAA',
        '0'.repeat(64),
        '__proto__',
        '\u0000',
        '\ud800',
        'é',
        '2024-01-01T00:00:00Z',
      ])
    case 3: {
      const tree = read(other)
      return tree === undefined ? null : random.pick<Json>(containersOf(tree))
    }
    default:
      return random.below(1000)
  }
}
