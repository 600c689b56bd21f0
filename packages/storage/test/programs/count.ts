import { openNamespace } from './open-local-fs.ts'

/** Adds 1 to a stored counter by compare-and-set, 25 times, and claims one key if it is the first. */
const store = await openNamespace()
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes)
for (let added = 0; added < 25; ) {
  const old = await store.get('counter')
  const next = new TextEncoder().encode(String(Number(text(old)) + 1))
  if (await store.compareAndSet('counter', old, next)) added++
}
const first = await store.set('first', new Uint8Array(), { ifAbsent: true })
process.stdout.write(first ? 'first' : 'later')
