import { openNamespace } from './open-local-fs.ts'

/** Overwrites one key with values of 256 KiB, each of one repeated byte, until it is killed. */
const store = await openNamespace()
process.stdout.write('writing\n')
for (let round = 0; ; round++) await store.set('key', new Uint8Array(256 * 1024).fill(round % 256))
