import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_VALUE_BYTES, openStorage, type Storage, StorageUnavailable } from '../src/index.ts'
import { ExclusiveLock } from '../src/local-fs/exclusive-lock.ts'
import { temporaryFolder } from './back-ends.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const program = (name: string) => join(import.meta.dirname, 'programs', name)
const isRoot = process.getuid?.() === 0

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let storage: Storage
beforeEach(async () => {
  folder = await temporaryFolder()
  storage = await openStorage({ type: 'LocalFs', dirPath: join(folder.path, 'storage') })
})
afterEach(async () => {
  await storage.close()
  await folder.remove()
})
const path = (...parts: string[]) => join(folder.path, 'storage', ...parts)

describe('the layout of LocalFs (spec 01 §5.3)', () => {
  it("is Trustee's: one folder a namespace, raw bytes, every slash as \\x2F", async () => {
    await storage.namespace('repository').set('one/two/three', bytes('secret'))
    await storage.namespace('kbs').set('resource-policy.rego', bytes('package policy'))
    expect(await readFile(path('repository', 'one\\x2Ftwo\\x2Fthree'), 'utf8')).toBe('secret')
    expect(await readFile(path('kbs', 'resource-policy.rego'), 'utf8')).toBe('package policy')
    expect(await readdir(path('repository'))).toEqual(['one\\x2Ftwo\\x2Fthree'])
  })

  it('writes the colon of a reference value name as \\x3A', async () => {
    await storage.namespace('reference_value').set('rvps:a/b', bytes('1'))
    expect(await readdir(path('reference_value'))).toEqual(['rvps\\x3Aa\\x2Fb'])
  })

  it('serves files that an operator put there, before opening or after', async () => {
    await mkdir(path('repository'))
    await writeFile(path('repository', 'one\\x2Ftwo\\x2Fthree'), 'seeded')
    const repository = storage.namespace('repository')
    expect(await repository.get('one/two/three')).toEqual(bytes('seeded'))
    expect(await repository.list()).toEqual(['one/two/three'])
    expect(await repository.compareAndSet('one/two/three', bytes('seeded'), bytes('new'))).toBe(true)
    expect(await repository.delete('one/two/three')).toBe(true)
  })

  it('makes folders for the owner only, and files too', async () => {
    await storage.namespace('repository').set('a/b/c', bytes('x'))
    const modeOf = async (...parts: string[]) => (await stat(path(...parts))).mode & 0o777
    expect(await modeOf()).toBe(0o700)
    expect(await modeOf('repository')).toBe(0o700)
    expect(await modeOf('repository', 'a\\x2Fb\\x2Fc')).toBe(0o600)
  })

  it('does not list what is not a key: folders, temporary files, names of others', async () => {
    await storage.namespace('n').set('key', bytes('x'))
    await mkdir(path('n', 'folder'))
    for (const name of ['~tmp-1', 'with space', 'raw:colon', 'lower\\x2fcase', '\\x2F', 'a\\x2F']) {
      await writeFile(path('n', name), 'x')
    }
    expect(await storage.namespace('n').list()).toEqual(['key'])
  })

  it('removes old temporary files when it opens, and leaves those that may be in use', async () => {
    await mkdir(path('n'))
    await writeFile(path('n', '~tmp-old'), 'half a sec')
    await utimes(path('n', '~tmp-old'), new Date(0), new Date(0))
    await writeFile(path('n', '~tmp-new'), 'x')
    await (await openStorage({ type: 'LocalFs', dirPath: path() })).close()
    expect(await readdir(path('n'))).toEqual(['~tmp-new'])
  })

  it('leaves folders alone that no namespace can be, as the lost+found of a volume, readable or not', async () => {
    await mkdir(path('lost+found'))
    await writeFile(path('lost+found', '~tmp-old'), 'x')
    await utimes(path('lost+found', '~tmp-old'), new Date(0), new Date(0))
    await chmod(path('lost+found'), 0)
    await (await openStorage({ type: 'LocalFs', dirPath: path() })).close()
    await chmod(path('lost+found'), 0o700)
    expect(await readdir(path('lost+found'))).toEqual(['~tmp-old'])
  })
})

describe('what LocalFs refuses to follow', () => {
  it('a link in place of a value', async () => {
    await mkdir(path('n'))
    await writeFile(path('..', 'outside'), 'not yours')
    await symlink(path('..', 'outside'), path('n', 'key'))
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
    expect(await storage.namespace('n').list()).toEqual([])
    await storage.namespace('n').set('key', bytes('mine'))
    expect(await readFile(path('..', 'outside'), 'utf8')).toBe('not yours')
  })

  it('a link in place of a namespace', async () => {
    await mkdir(path('..', 'outside'))
    await symlink(path('..', 'outside'), path('n'))
    const store = storage.namespace('n')
    await expect(store.get('key')).rejects.toThrow(StorageUnavailable)
    await expect(store.set('key', bytes('x'))).rejects.toThrow(StorageUnavailable)
    await expect(store.delete('key')).rejects.toThrow(StorageUnavailable)
    await expect(store.list()).rejects.toThrow(StorageUnavailable)
    expect(await readdir(path('..', 'outside'))).toEqual([])
  })

  it('a pipe, without hanging, and a folder', async () => {
    await mkdir(path('n', 'folder'), { recursive: true })
    execFileSync('mkfifo', [path('n', 'pipe')])
    await expect(storage.namespace('n').get('pipe')).rejects.toThrow(StorageUnavailable)
    await expect(storage.namespace('n').get('folder')).rejects.toThrow(StorageUnavailable)
  })

  it('a file over the limit', async () => {
    await mkdir(path('n'))
    await writeFile(path('n', 'key'), '')
    await truncate(path('n', 'key'), MAX_VALUE_BYTES + 1)
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
  })

  it('a file in place of the storage folder', async () => {
    await writeFile(path('..', 'file'), '')
    const opening = openStorage({ type: 'LocalFs', dirPath: path('..', 'file') })
    await expect(opening).rejects.toThrow(StorageUnavailable)
  })
})

describe('LocalFs when the disk does not play along', () => {
  it('says StorageUnavailable when the folder has gone', async () => {
    await rename(path(), path('..', 'elsewhere'))
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    for (const namespace of ['n', 'never-used']) {
      await expect(storage.namespace(namespace).get('key')).rejects.toThrow(/ENOENT/)
      await expect(storage.namespace(namespace).list()).rejects.toThrow(/ENOENT/)
    }
    await expect(storage.namespace('n').set('key', bytes('x'))).rejects.toThrow(StorageUnavailable)
  })

  it('says StorageUnavailable, with the cause, when a write does not fit, and keeps the old value', async () => {
    await storage.namespace('n').set('key', bytes('old'))
    // A file may not grow over 64 blocks of 1 KiB.
    const command = `ulimit -f 64; exec "${process.execPath}" "${program('write-once.ts')}" "${path()}"`
    const { stdout } = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
    expect(stdout).toBe('StorageUnavailable EFBIG')
    expect(await storage.namespace('n').get('key')).toEqual(bytes('old'))
    expect(await readdir(path('n'))).toEqual(['key'])
  })

  // Mounting needs a privilege that containers often lack; the test above has the same course without it.
  if (canMount()) {
    it('says StorageUnavailable, with the cause, when the disk is full', async () => {
      const disk = path('..', 'disk')
      await mkdir(disk)
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk])
      try {
        const full = await openStorage({ type: 'LocalFs', dirPath: disk })
        await full.namespace('n').set('key', bytes('old'))
        const writing = full.namespace('n').set('key', new Uint8Array(128 * 1024))
        await expect(writing).rejects.toThrow(StorageUnavailable)
        await expect(writing).rejects.toMatchObject({ cause: { code: 'ENOSPC' } })
        expect(await full.namespace('n').get('key')).toEqual(bytes('old'))
        expect(await readdir(join(disk, 'n'))).toEqual(['key'])
        await full.close()
      } finally {
        execFileSync('umount', [disk])
      }
    })
  }

  it('says StorageUnavailable, with the cause, when it may not write', async () => {
    await storage.namespace('n').set('key', bytes('old'))
    await chmod(path('n'), 0o500)
    // Root may write everywhere, so there the writer becomes somebody else, who may pass but not write.
    for (const part of isRoot ? [folder.path, path(), path('n')] : []) await chmod(part, 0o755)
    const args = [program('write-once.ts'), path(), ...(isRoot ? ['65534'] : [])]
    const run = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(run.stdout).toBe('StorageUnavailable EACCES')
    await chmod(path('n'), 0o700)
    expect(await storage.namespace('n').get('key')).toEqual(bytes('old'))
  })
})

describe('LocalFs between processes', () => {
  it('shows whole values only, though the writer is killed again and again', async () => {
    const store = storage.namespace('n')
    for (let round = 0; round < 8; round++) {
      const writer = spawn(process.execPath, [program('write-for-ever.ts'), path()], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      await once(writer.stdout, 'data')
      const readUntil = performance.now() + 20 + round * 10
      let value: Uint8Array | undefined
      do {
        value = await store.get('key')
        assertWhole(value)
      } while (value === undefined || performance.now() < readUntil)
      const exited = once(writer, 'exit')
      writer.kill('SIGKILL')
      await exited
      assertWhole(await store.get('key'))
      // The dead writer's lock does not stop the next one.
      await store.set('after', bytes(String(round)))
      expect(await store.list()).toEqual(['after', 'key'])
    }
  }, 60_000)

  it('loses no increment of a counter, and lets one be first', async () => {
    const run = promisify(execFile)
    const counters = Array.from({ length: 4 }, () => run(process.execPath, [program('count.ts'), path()]))
    const claims = (await Promise.all(counters)).map(({ stdout }) => stdout)
    expect(await storage.namespace('n').get('counter')).toEqual(bytes('100'))
    expect(claims.sort()).toEqual(['first', 'later', 'later', 'later'])
  }, 60_000)

  it('gives up on a lock that is not released, and gets it when its holder dies', async () => {
    await storage.namespace('n').set('key', bytes('x'))
    const holder = spawn(process.execPath, [program('hold-lock.ts'), path()], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(holder.stdout, 'data')
    const lock = new ExclusiveLock(path('~locks', 'n'), 100)
    await expect(lock.exclusively(() => 1)).rejects.toThrow(StorageUnavailable)
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    expect(await lock.exclusively(() => 1)).toBe(1)
    lock.close()
  })
})

function assertWhole(value: Uint8Array | undefined): void {
  if (value === undefined) return
  expect(value).toHaveLength(256 * 1024)
  expect(Buffer.from(value).equals(Buffer.alloc(value.length, value[0]))).toBe(true)
}

function canMount(): boolean {
  if (!isRoot) return false
  const command = 'd=$(mktemp -d) && mount -t tmpfs tmpfs $d && umount $d'
  return spawnSync('bash', ['-c', command], { stdio: 'ignore' }).status === 0
}
