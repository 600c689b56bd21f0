/** Every case of the Rego vectors, as `pnpm conformance rego` runs them. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, vi } from 'vitest'
import { run } from '../../src/conformance/rego.ts'
import { vectorsFolder } from '../../src/vectors.ts'

const folder = fileURLToPath(new URL('rego/', vectorsFolder()))
const hasVectors = existsSync(folder)
if (!hasVectors && process.env.CI === 'true') throw new Error('no vectors: set KBS_VECTORS')
if (!hasVectors) console.warn(`SKIPPED: no vectors at ${folder}; set KBS_VECTORS to the vectors folder`)

describe('the Rego vectors', () => {
  it.skipIf(!hasVectors)(
    'pass, but for the listed cases, none of which passes',
    async () => {
      const log = vi.spyOn(console, 'log').mockImplementation(() => {})
      try {
        const code = await run([folder])
        expect(log.mock.calls.flat().filter((line) => String(line).startsWith('FAILED'))).toEqual([])
        expect(code).toBe(0)
      } finally {
        log.mockRestore()
      }
    },
    120_000,
  )
})
