import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStorage, StorageUnavailable } from '../src/index.ts'
import { MAX_JSON_FILE_BYTES } from '../src/local-json/local-json-storage.ts'
import { temporaryFolder } from './back-ends.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

let root: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  root = await temporaryFolder()
})
afterEach(() => root.remove())

const file = (name: string) => join(root.path, name)
const open = () => openStorage({ type: 'LocalJson', folder: root.path })

describe('LocalJson', () => {
  it('is one JSON file a namespace, values in base64url with padding (spec 01 §5.3)', async () => {
    const store = (await open()).namespace('repository')
    await store.set('one/two/three', Uint8Array.of(0xfb, 0xff))
    await store.set('__proto__', bytes('x'))
    const text = await readFile(file('repository'), 'utf8')
    expect(text).toBe('{"one/two/three":"-_8=","__proto__":"eA=="}')
    expect(await store.list()).toEqual(['__proto__', 'one/two/three'])
    expect((await stat(file('repository'))).mode & 0o777).toBe(0o600)
  })

  it('reads what Trustee has written, and what others have without padding', async () => {
    await writeFile(
      file('kbs'),
      '{ "resource-policy.rego" : "cGFja2FnZSBwb2xpY3k=", "b": "-_8", "not a key": "" }\n',
    )
    const store = (await open()).namespace('kbs')
    expect(await store.get('resource-policy.rego')).toEqual(bytes('package policy'))
    expect(await store.get('b')).toEqual(Uint8Array.of(0xfb, 0xff))
    expect(await store.list()).toEqual(['b', 'resource-policy.rego'])
    await store.delete('b')
    expect(JSON.parse(await readFile(file('kbs'), 'utf8'))).toEqual({
      'resource-policy.rego': 'cGFja2FnZSBwb2xpY3k=',
      'not a key': '',
    })
  })

  it.each(['', '{', '[]', 'null', '{"key":1}', '{"key":"a"}', '{"key":"$$"}'])(
    'answers a damaged file with StorageUnavailable and leaves it alone: %j',
    async (text) => {
      await writeFile(file('n'), text)
      const store = (await open()).namespace('n')
      await expect(store.get('key')).rejects.toThrow(StorageUnavailable)
      await expect(store.compareAndSet('key', bytes('x'), bytes('y'))).rejects.toThrow(StorageUnavailable)
      expect(await readFile(file('n'), 'utf8')).toBe(text)
    },
  )

  it('knows nothing, instead of that nothing is there, when the folder has gone', async () => {
    const store = (await open()).namespace('repository')
    await store.set('a', bytes('x'))
    await rename(root.path, `${root.path}.gone`)
    await expect(store.get('a')).rejects.toThrow(StorageUnavailable)
    await expect(store.set('a', bytes('y'))).rejects.toThrow(StorageUnavailable)
    await rename(`${root.path}.gone`, root.path)
    expect(await store.get('a')).toEqual(bytes('x'))
  })

  it('follows no link, reads no folder and nothing beyond its limit', async () => {
    await writeFile(file('outside'), '{"key":"eA=="}')
    await symlink(file('outside'), file('linked'))
    await mkdir(file('folder'))
    await writeFile(file('huge'), Buffer.alloc(MAX_JSON_FILE_BYTES + 1, ' '))
    const storage = await open()
    for (const name of ['linked', 'folder', 'huge']) {
      await expect(storage.namespace(name).get('key')).rejects.toThrow(StorageUnavailable)
      await expect(storage.namespace(name).set('key', bytes('y'))).rejects.toThrow(StorageUnavailable)
    }
    expect(await readFile(file('outside'), 'utf8')).toBe('{"key":"eA=="}')
  })

  it('loses no update of processes that write different keys of one namespace at once (weakness 36)', async () => {
    const program = fileURLToPath(new URL('programs/write-many.ts', import.meta.url))
    const writers = ['a', 'b', 'c'].map(
      (prefix) =>
        new Promise<number | null>((resolve) => {
          const flag = '--disable-warning=ExperimentalWarning'
          spawn(process.execPath, [flag, program, root.path, prefix], { stdio: 'inherit' }).once(
            'exit',
            resolve,
          )
        }),
    )
    expect(await Promise.all(writers)).toEqual([0, 0, 0])
    expect(await (await open()).namespace('n').list()).toHaveLength(60)
  }, 30_000)

  it('removes at the start what a writer that died has left', async () => {
    const longAgo = new Date(Date.now() - 3_600_000)
    await writeFile(file('~tmp-old'), '{')
    await utimes(file('~tmp-old'), longAgo, longAgo)
    await writeFile(file('~tmp-new'), '{')
    await open()
    expect(await readdir(root.path)).toEqual(['~tmp-new'])
  })
})
