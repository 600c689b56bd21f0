import { openStorage } from '../../src/index.ts'

/** Writes 20 keys, that begin with the second argument, to the namespace `n` of LocalJson in the folder of the first. */
const [, , folder = '', prefix = ''] = process.argv
const storage = await openStorage({ type: 'LocalJson', folder })
for (let i = 0; i < 20; i++) await storage.namespace('n').set(`${prefix}${i}`, new Uint8Array(1_000))
await storage.close()
