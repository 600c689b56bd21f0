import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const units = resolve(import.meta.dirname, '../../docker/systemd')
const programs = ['kbs-attest', 'kbs-resource', 'kbs', 'attestation-service', 'kbsctl']

let folder: string
let home: string
/** A checkout with programs of a few bytes: what is copied does not matter, but where it goes. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbs-install-'))
  home = join(folder, 'root/opt/passport-kbs')
  await cp(units, join(folder, 'docker/systemd'), { recursive: true })
  for (const program of programs) {
    const dist = join(folder, 'apps', program, 'dist')
    await mkdir(dist, { recursive: true })
    for (const name of ['main.js', 'sbom.cdx.json']) await writeFile(join(dist, name), program)
  }
  await mkdir(join(folder, 'node_modules/.bin'), { recursive: true })
  const node = `#!/bin/sh\necho ${join(folder, 'docker/systemd/install.sh')}\n`
  await writeFile(join(folder, 'node_modules/.bin/node'), node, { mode: 0o755 })
  await mkdir(join(folder, 'root'), { mode: 0o755 })
})
afterEach(() => rm(folder, { recursive: true }))

const install = (release: string, umask = '022') =>
  promisify(execFile)('/bin/sh', ['-c', `umask ${umask} && docker/systemd/install.sh "$1"`, 'sh', release], {
    cwd: folder,
    env: { PATH: process.env.PATH, DESTDIR: join(folder, 'root') },
  })

describe('the installation of a release', () => {
  it('is the current one, beside those before it', async () => {
    await install('1.0')
    await install('1.1')
    expect(await readlink(join(home, 'current'))).toBe('1.1')
    expect((await readdir(home)).sort()).toEqual(['1.0', '1.1', 'current'])
    await expect(install('1.1')).rejects.toThrow(/is there already/)
  })

  it('is the current one also where the one before was interrupted', async () => {
    await install('1.0')
    await symlink('1.0', join(home, 'current.new'))
    await mkdir(join(home, '1.1.partial'))
    await install('1.1')
    expect(await readlink(join(home, 'current'))).toBe('1.1')
    expect((await readdir(home)).sort()).toEqual(['1.0', '1.1', 'current'])
    expect(await readdir(join(home, '1.0'))).not.toContain('1.1')
  })

  it('can be run by the users of the programs, whatever the umask', async () => {
    await install('1.0', '077')
    for (const path of ['', '1.0', '1.0/node', '1.0/kbs.mjs', '..', '../../etc/systemd/system']) {
      const { mode } = await stat(join(home, path))
      expect((mode & 0o077).toString(8), path).toMatch(/^[45][45]$/)
    }
  })

  it.each(['', 'current', 'current.new', '1.0.partial', '../x', '-x', 'a b', '$(id)'])(
    'is not called %j',
    async (release) => {
      await expect(install(release)).rejects.toThrow(/release/)
      expect(await readdir(join(folder, 'root'))).toEqual([])
    },
  )
})
