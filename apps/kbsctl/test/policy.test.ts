import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kbsctl } from './kbsctl.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('policy check', () => {
  it('passes a policy that compiles', async () => {
    await writeFile(
      join(folder, 'good.rego'),
      'package policy\n\ndefault allow := false\n\nallow if input.x == 1\n',
    )
    expect(await kbsctl(['policy', 'check', 'good.rego'], { cwd: folder })).toMatchObject({
      status: 0,
      stdout: 'good.rego: ok\n',
    })
  })

  it('names the place of what does not compile', async () => {
    await writeFile(join(folder, 'bad.rego'), 'package policy\n\nallow if unheard_of(input.x)\n')
    const outcome = await kbsctl(['policy', 'check', 'bad.rego'], { cwd: folder })
    expect(outcome).toMatchObject({ status: 1, stdout: '' })
    expect(outcome.stderr).toMatch(/^bad\.rego:3:\d+: error: .*\[\w+\]\n/)
  })
})
