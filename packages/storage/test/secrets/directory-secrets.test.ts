import { chmod, mkdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { directorySecrets, SecretBackendReadOnly, StorageUnavailable } from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

/** Lays files out as the atomic writer of the CSI driver does: a dated folder, `..data` to it, a link for each name. */
export async function driverWrites(mount: string, date: string, files: Record<string, string | Uint8Array>) {
  await mkdir(join(mount, `..${date}`), { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(mount, `..${date}`, name)), { recursive: true })
    await writeFile(join(mount, `..${date}`, name), content)
  }
  await symlink(`..${date}`, join(mount, '..data_tmp'))
  await rename(join(mount, '..data_tmp'), join(mount, '..data'))
  for (const name of Object.keys(files)) {
    await symlink(join('..data', name), join(mount, name)).catch((error) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

describe('a directory that the Secrets Store CSI driver mounts', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  let mount: string
  beforeEach(async () => {
    folder = await temporaryFolder()
    mount = join(folder.path, 'mnt')
    await mkdir(mount)
  })
  afterEach(() => folder.remove())
  const read = async (path: string) => {
    const bytes = await directorySecrets(mount).read(path)
    return bytes && Buffer.from(bytes).toString('latin1')
  }

  it('serves each file under its name, byte for byte', async () => {
    await driverWrites(mount, '2026_01', { one: 'first', 'two.pem': Uint8Array.of(0, 255, 10), empty: '' })
    expect(await read('default/akv/one')).toBe('first')
    expect(await read('default/akv/two.pem')).toBe('\u0000\u00ff\n')
    expect(await read('default/akv/empty')).toBe('')
    expect(await read('default/akv/three')).toBeUndefined()
  })

  it('serves a directory of plain files', async () => {
    await writeFile(join(mount, 'one'), 'plain')
    expect(await read('default/akv/one')).toBe('plain')
  })

  it('follows the swap of the links without a restart, the old folder gone', async () => {
    const secrets = directorySecrets(mount)
    const text = async () => Buffer.from((await secrets.read('default/akv/one')) ?? []).toString()
    await driverWrites(mount, '1', { one: 'old' })
    expect(await text()).toBe('old')
    await driverWrites(mount, '2', { one: 'new' })
    await rm(join(mount, '..1'), { recursive: true })
    expect(await text()).toBe('new')
  })

  it('answers old or new, whole, however often the driver swaps', async () => {
    await driverWrites(mount, '0', { one: 'a'.repeat(5_000) })
    let done = false
    const swaps = (async () => {
      for (let i = 1; i <= 40; i++) {
        await driverWrites(mount, String(i), { one: String(i % 10).repeat(5_000) })
        await rm(join(mount, `..${i - 1}`), { recursive: true })
      }
      done = true
    })()
    let reads = 0
    while (!done) {
      const text = await read('default/akv/one').catch((error) => {
        if (!(error instanceof StorageUnavailable)) throw error
        return 'unavailable'
      })
      if (text !== 'unavailable') expect(text).toMatch(/^(.)\1{4999}$/)
      reads++
    }
    await swaps
    expect(reads).toBeGreaterThan(0)
  })

  it.each(['..data', '..1', '.', '..', '.hidden', '', '..%2F', '..\\outside'])(
    'has no secret %j',
    async (name) => {
      await driverWrites(mount, '1', { one: 'x' })
      await writeFile(join(mount, '.hidden'), 'x')
      expect(await read(`default/akv/${name}`)).toBeUndefined()
    },
  )

  it('refuses a link that leads out, directly, through a folder, or to a neighbour of like name', async () => {
    await writeFile(join(folder.path, 'outside'), 'foreign')
    await mkdir(join(folder.path, 'mnt-other'))
    await writeFile(join(folder.path, 'mnt-other', 'secret'), 'foreign')
    await symlink('../outside', join(mount, 'relative'))
    await symlink(join(folder.path, 'outside'), join(mount, 'absolute'))
    await symlink('..', join(mount, '..up'))
    await symlink('..up/outside', join(mount, 'through'))
    await symlink('../mnt-other/secret', join(mount, 'neighbour'))
    for (const name of ['relative', 'absolute', 'through', 'neighbour']) {
      await expect(read(`default/akv/${name}`)).rejects.toThrow(/leads out/)
    }
  })

  it('refuses what is no file, what is too large, and what it may not read', async () => {
    await mkdir(join(mount, 'folder'))
    await writeFile(join(mount, 'large'), '')
    await truncate(join(mount, 'large'), 16 * 1024 * 1024 + 1)
    await symlink('loop', join(mount, 'loop'))
    for (const name of ['folder', 'large', 'loop']) {
      await expect(read(`default/akv/${name}`)).rejects.toThrow(StorageUnavailable)
    }
    if (process.getuid?.() === 0) return
    await writeFile(join(mount, 'closed'), 'x')
    await chmod(join(mount, 'closed'), 0o000)
    await expect(read('default/akv/closed')).rejects.toThrow(/EACCES/)
  })

  it('is unavailable, not empty, while nothing is mounted, and while a name leads nowhere', async () => {
    await symlink('..data/one', join(mount, 'one'))
    await expect(read('default/akv/one')).rejects.toThrow(/changes while it is read/)
    await rm(mount, { recursive: true })
    await expect(read('default/akv/one')).rejects.toThrow(StorageUnavailable)
    await mkdir(mount)
    await writeFile(join(mount, 'one'), 'there')
    expect(await read('default/akv/one')).toBe('there')
  })

  it('is only read', async () => {
    const secrets = directorySecrets(mount)
    await expect(secrets.write('default/akv/one', new Uint8Array())).rejects.toThrow(SecretBackendReadOnly)
    await expect(secrets.delete('default/akv/one')).rejects.toThrow(SecretBackendReadOnly)
  })
})
