/** The fuzzer finds what it is for, and a short run of every target finds nothing. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'acorn'
import { afterAll, describe, expect, it } from 'vitest'
import { runCampaign, type TargetResult } from '../src/fuzz/campaign.ts'
import { Coverage } from '../src/fuzz/coverage.ts'
import { instrument } from '../src/fuzz/instrumentation.ts'
import { pickLayer } from '../src/fuzz/layers.ts'
import { Random } from '../src/fuzz/random.ts'
import { type TargetEntry, targetEntries } from '../src/fuzz/targets.ts'

const folder = mkdtempSync(join(tmpdir(), 'passport-kbs-fuzz-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function fuzz(
  targets: readonly TargetEntry[],
  seconds: number,
  silenceMs = 60_000,
): Promise<TargetResult[]> {
  const lines: string[] = []
  const findingsFolder = join(folder, 'findings')
  const status = (line: string) => lines.push(line)
  const limits = { seconds, jobs: 2, seed: 1, mostFindings: 1 }
  return await runCampaign({ targets, ...limits, findingsFolder, silenceMs, status })
}

function planted(name: string, exportName: string): TargetEntry {
  const module = new URL('fuzz/planted.ts', import.meta.url).href
  return { name, module, export: exportName, scope: ['e2e/test/fuzz/planted.ts'] }
}

describe('the fuzzer', () => {
  it('finds, guided by coverage, a defect behind four bytes that guessing does not find', async () => {
    const [result] = await fuzz([planted('behind-four-bytes', 'behindFourBytes')], 60)
    expect(result?.findings.map(({ title }) => title)).toEqual([
      expect.stringMatching(/^not a typed rejection: TypeError at e2e\/test\/fuzz\/planted\.ts:\d+$/),
    ])
    expect(result?.executions).toBeLessThan(2 ** 28)
  }, 120_000)

  it('finds what is behind a comparison with bytes that stand nowhere', async () => {
    const [result] = await fuzz([planted('behind-comparison', 'behindComparison')], 60)
    expect(result?.findings).toHaveLength(1)
  }, 120_000)

  it.each([
    ['hidden-in-rejection', 'hiddenInRejection', /^a programming error behind a typed rejection: TypeError/],
    ['slow', 'slow', /^too slow$/],
    ['greedy', 'greedy', /^too much memory$/],
    ['endless', 'endless', /^the process ended with SIGKILL$/],
    ['crashing', 'crashing', /^the process ended with SIG(ABRT|TRAP)$/],
  ])(
    'finds a reader that is %s, and keeps the input',
    async (name, exportName, title) => {
      const [result] = await fuzz([planted(name, exportName)], 30, exportName === 'endless' ? 6000 : 60_000)
      const [finding] = result?.findings ?? []
      expect(finding?.title).toMatch(title)
      expect(existsSync(finding?.file ?? '')).toBe(true)
      expect(readFileSync(`${finding?.file}.txt`, 'utf8')).toContain(`pnpm fuzz ${name} --input`)
    },
    120_000,
  )
})

describe('instrumentation', () => {
  it('leaves programs as they are, but for counters', () => {
    const coverage = new Coverage()
    const words = new Set<string>()
    const source = `
      const result = []
      function f(a, b = a ?? 1) { if (a === b) result.push('equal'); else if (!a) for (;;) { break } ; return a ? -b : (() => ({ b }))().b }
      switch (f(1)) { case 1: result.push('one'); default: result.push('end') }
      if (f(0, 0) !== (0)) result.push('never'); else result.push(typeof f === 'function' && 'tail')
      do result.push('once'); while (false)
      try { null.x } catch { result.push(f(2)) }
      globalThis.fuzzTestResult = result.join()`
    const text = instrument(source, coverage, words)
    expect(() => parse(text, { ecmaVersion: 'latest', sourceType: 'module' })).not.toThrow()
    const run = (code: string) => {
      Object.assign(globalThis, { fuzzCounters: coverage.counters, fuzzEqual: coverage.equal })
      new Function(code)()
      return Reflect.get(globalThis, 'fuzzTestResult')
    }
    expect(run(text)).toBe(run(source))
    expect(coverage.places).toBeGreaterThan(12)
    expect(coverage.isNew()).toBe(true)
    expect(words).toContain('equal')
  })
})

describe('layers', () => {
  const random = new Random(1)
  it.each([
    ['hexadecimal', '"00ff10"', '"00ff1001"'],
    ['base64', '"AAECAwQFBgc="', '"AAECAwQFBgcB"'],
    ['base64url', 'AAECAwQFBgcICQoLDA0ODw.', 'AAECAwQFBgcICQoLDA0ODwE.'],
    ['an array of bytes', '[1, 2,255]', '[1,2,255,1]'],
    ['JSON in a string', String.raw`"{\"a\":1}"`, String.raw`"{\"a\":1}\u0001"`],
    ['PEM', '-----BEGIN X-----\nAAEC\n', '-----BEGIN X-----\nAAECAQ==\n'],
  ])('are found in %s, and encoded again', (_name, text, longer) => {
    const layer = pickLayer(Buffer.from(text), random)
    expect(layer?.encode(Buffer.concat([layer.content, Buffer.of(1)])).toString()).toBe(longer)
  })

  it('of DER keep the lengths around them right', () => {
    const der = Buffer.from('3008300602010504010a', 'hex')
    const longer = Buffer.alloc(300, 7)
    const layers = Array.from({ length: 40 }, () => pickLayer(der, random)?.encode(longer).toString('hex'))
    expect(layers).toContain(`30820137308201330201050482012c${'07'.repeat(300)}`)
  })
})

/** Where the whole machine is shared, starting takes longer than fuzzing. */
describe('a short run', () => {
  it('of every target finds nothing', async () => {
    const results = await fuzz(targetEntries, 1)
    expect(results.flatMap(({ findings }) => findings)).toEqual([])
    for (const { executions, covered } of results) {
      expect(executions).toBeGreaterThan(0)
      expect(covered).toBeGreaterThan(0)
    }
  }, 600_000)
})
