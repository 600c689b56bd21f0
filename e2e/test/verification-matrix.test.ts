import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { verificationMatrix, verificationMatrixFile } from '../src/verification-matrix.ts'

describe('docs/verification.md', () => {
  it('is current; `node e2e/src/verification-matrix.ts` makes it', async () => {
    expect(await readFile(verificationMatrixFile, 'utf8')).toBe(verificationMatrix())
  })

  it('states for every check what it protects, a code and a source', () => {
    const rows = verificationMatrix()
      .split('\n')
      .filter((line) => /^\| \d+ \|/.test(line))
    expect(rows.length).toBeGreaterThan(100)
    for (const row of rows) {
      expect(row).toMatch(/^\| \d+ \| `[a-z0-9-]+` \| \S.*\S \| `[A-Z0-9_]+`.* \| \S.*\S \|$/)
    }
  })

  it('describes every TEE that has a verifier', () => {
    for (const heading of verificationMatrix().matchAll(/^## ([a-z-]+)\n\n(.*)$/gm)) {
      expect(heading[2]).not.toBe('')
    }
  })

  it('names only keys that the configuration has', async () => {
    const reference = await readFile(new URL('configuration.md', verificationMatrixFile), 'utf8')
    const keys = [...verificationMatrix().matchAll(/`([a-z_]+_verifier)\.([a-z_]+)`/g)]
    expect(keys.length).toBeGreaterThan(5)
    for (const [, table, key] of keys) {
      const section = reference.split(/^## /m).find((text) => text.includes(`verifier_config.${table}]`))
      expect(section).toContain(`| \`${key}\` |`)
    }
  })
})
