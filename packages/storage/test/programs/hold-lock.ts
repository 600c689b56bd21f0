import { join } from 'node:path'
import { ExclusiveLock } from '../../src/local-fs/exclusive-lock.ts'

/** Takes the lock of the namespace `n` and never lets go. */
const [, , dirPath = ''] = process.argv
await new ExclusiveLock(join(dirPath, '~locks', 'n'), 1_000).exclusively(() => {
  process.stdout.write('holding\n')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})
