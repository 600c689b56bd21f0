import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { configurationReference } from '../../src/config/reference.ts'

describe('docs/configuration.md', () => {
  it('is current; `pnpm docs` makes it', async () => {
    const stored = await readFile(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8')
    expect(stored).toBe(configurationReference())
  })

  it('describes every key', () => {
    const undescribed = configurationReference()
      .split('\n')
      .filter((line) => /^\| `[a-z_0-9]+` \| .* \| {2}\|$/.test(line))
    expect(undescribed).toEqual([])
  })
})
