import { openNamespace } from './open-local-fs.ts'

/** Writes 128 KiB under `key`, as the user of the second argument if there is one, and prints what came of it: "written", or the error's name and its cause's code. */
try {
  const store = await openNamespace()
  const [, , , user] = process.argv
  if (user !== undefined) process.setuid?.(Number(user))
  await store.set('key', new Uint8Array(128 * 1024))
  process.stdout.write('written')
} catch (error) {
  const { name, cause } = error as { name: string; cause?: { code?: string } }
  process.stdout.write(`${name} ${cause?.code}`)
}
