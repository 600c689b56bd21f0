import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { directoryFiles } from '../../src/index.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'collateral-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('A directory of collateral', () => {
  test('is made when it is first written to', async () => {
    const path = join(folder, 'new', 'deep')
    const files = directoryFiles(path)
    expect(await files.read('a.json')).toBeUndefined()
    await files.write('a.json', Buffer.from('first'))
    expect(await files.read('a.json')).toEqual(new Uint8Array(Buffer.from('first')))
  })

  test('replaces a file as a whole and leaves nothing else behind', async () => {
    const path = join(folder, 'replaced')
    const files = directoryFiles(path)
    const contents = Array.from({ length: 20 }, (_unused, index) => Buffer.alloc(10_000, index))
    await Promise.all(contents.map((content) => files.write('a.json', content)))
    const read = await files.read('a.json')
    expect(contents.some((content) => content.equals(read ?? new Uint8Array()))).toBe(true)
    expect(await readdir(path)).toEqual(['a.json'])
  })

  test('does not read what is too large or no file', async () => {
    const files = directoryFiles(folder)
    await writeFile(join(folder, 'large.json'), Buffer.alloc(513 * 1024))
    await mkdir(join(folder, 'directory.json'))
    await expect(files.read('large.json')).rejects.toThrow('at most')
    await expect(files.read('directory.json')).rejects.toThrow('is not a file')
  })

  test('that cannot be made says so', async () => {
    const file = join(folder, 'file')
    await writeFile(file, '')
    await expect(directoryFiles(join(file, 'below')).write('a.json', new Uint8Array())).rejects.toThrow(
      'ENOTDIR',
    )
  })
})
