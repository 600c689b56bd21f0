import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentDirectory } from '../src/deployment/deployment-directory.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-directory-'))
})
afterEach(() => rm(folder, { recursive: true }))

const names = ['a.pem', 'b.key', 'offline/c.key']
const files = names.map((name) => ({ name, text: `new ${name}`, secret: name.endsWith('.key') }))

describe('a deployment directory', () => {
  it('takes files as a whole: one whose name is taken at the last moment undoes the others', async () => {
    const directory = new DeploymentDirectory(join(folder, 'kbs'), undefined)
    await directory.add([files[1] ?? { name: '', text: '', secret: true }])
    await expect(directory.add(files)).rejects.toThrow('cannot write: EEXIST')
    expect((await readdir(join(folder, 'kbs'))).sort()).toEqual(['b.key', 'offline'])
    expect(await readdir(join(folder, 'kbs/offline'))).toEqual([])
    expect(await readFile(join(folder, 'kbs/b.key'), 'utf8')).toBe('new b.key')
  })

  it('replaces none of the files when one of them cannot be written', async () => {
    const directory = new DeploymentDirectory(join(folder, 'kbs'), join(folder, 'elsewhere'))
    await directory.add(files)
    await rm(join(folder, 'elsewhere'), { recursive: true })
    await writeFile(join(folder, 'elsewhere'), 'not a folder')
    const next = files.map((file) => ({ ...file, text: 'newer' }))
    await expect(directory.replace(next)).rejects.toThrow('cannot write')
    expect(await readFile(join(folder, 'kbs/a.pem'), 'utf8')).toBe('new a.pem')
    expect((await readdir(join(folder, 'kbs'))).sort()).toEqual(['a.pem', 'b.key'])
  })

  it('replaces files by others, so that whoever reads sees the old or the new', async () => {
    const directory = new DeploymentDirectory(join(folder, 'kbs'), undefined)
    await directory.add(files)
    const { ino } = await stat(join(folder, 'kbs/a.pem'))
    await directory.replace([{ name: 'a.pem', text: 'newer', secret: false }])
    expect((await stat(join(folder, 'kbs/a.pem'))).ino).not.toBe(ino)
    expect(await directory.read('a.pem')).toBe('newer')
  })

  it('does not read through links, which the program’s user may have put there', async () => {
    const directory = new DeploymentDirectory(folder, undefined)
    await writeFile(join(folder, 'other'), 'of root')
    await symlink(join(folder, 'other'), join(folder, 'storage.key'))
    await symlink('/nowhere', join(folder, 'client.token'))
    for (const name of ['storage.key', 'client.token'])
      await expect(directory.find(name)).rejects.toThrow('is a link')
  })

  it('does not take a file that cannot be read for one that is not there', async () => {
    const directory = new DeploymentDirectory(folder, undefined)
    expect(await directory.find('nothing')).toBeUndefined()
    await expect(directory.find('.')).rejects.toThrow('EISDIR')
    await expect(directory.read('offline/ca.key')).rejects.toThrow('--offline DIR')
  })
})
