/**
 * `pnpm bench policy [--seconds=N]`: what the Rego engine costs on one core, warm, against the targets of spec 05 §15.
 * Measures and prints; nothing here decides whether a test passes.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  AnswerBook,
  type BoundPolicy,
  type CompiledPolicy,
  compilePolicy,
  type EvaluationRequest,
  fromJs,
  parseJson,
  presets,
  QUERY_REFERENCE_VALUE,
  type Value,
} from '@passport-kbs/policy'

const here = dirname(fileURLToPath(import.meta.url))
const POLICY = resolve(here, '../../../packages/attestation-service/policies/default_cpu.rego')
const CLAIMS = join(
  process.env.KBS_VECTORS ?? resolve(here, '../../../../shared/vectors'),
  'snp/evidence-milan-v3.claims.json',
)
const ATTESTATION_RULES = ['data.policy.trust_claims', 'data.policy.extensions']

interface Row {
  readonly work: string
  readonly median: string
  readonly p99: string
  readonly target: string
  readonly met: boolean | undefined
}

const rows: Row[] = []
let seconds = 1

function micros(n: number): string {
  return n >= 1000 ? `${(n / 1000).toFixed(2)} ms` : `${n.toFixed(2)} µs`
}

/** Runs batches for a while and gives times of one call in microseconds. */
function time(run: () => void): { median: number; p99: number } {
  for (let i = 0; i < 2_000; i++) run()
  const start = performance.now()
  run()
  const batch = Math.max(1, Math.min(200, Math.floor(0.2 / Math.max(performance.now() - start, 0.001))))
  const samples: number[] = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const from = performance.now()
    for (let i = 0; i < batch; i++) run()
    samples.push(((performance.now() - from) * 1000) / batch)
  }
  samples.sort((a, b) => a - b)
  const at = (share: number) => samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0
  return { median: at(0.5), p99: at(0.99) }
}

function measure(work: string, targetMicros: number | undefined, run: () => void): void {
  const { median, p99 } = time(run)
  const target = targetMicros === undefined ? '-' : micros(targetMicros)
  rows.push({
    work,
    median: micros(median),
    p99: micros(p99),
    target,
    met: targetMicros === undefined ? undefined : median < targetMicros,
  })
}

function request(rules: readonly string[], input: Value, answers?: AnswerBook): EvaluationRequest {
  return { rules, input, answers, now: 1_780_000_000_000_000_000n, randomBytes }
}

/** Fails loudly: a benchmark of failing evaluations would say nothing. */
function evaluate(policy: CompiledPolicy | BoundPolicy, req: EvaluationRequest): Value | undefined {
  const evaluation = policy.evaluate(req)
  if (evaluation.kind !== 'done') throw new Error('an answer is missing')
  const [first] = evaluation.results.values()
  return first?.kind === 'value' ? first.value : undefined
}

function snpClaims(): unknown {
  if (existsSync(CLAIMS)) return JSON.parse(readFileSync(CLAIMS, 'utf8'))
  console.warn('KBS_VECTORS has no SNP claims; using made-up ones of the same shape')
  const hex = (bytes: number) => 'ab'.repeat(bytes)
  return {
    policy_abi_major: 0,
    policy_abi_minor: 31,
    policy_smt_allowed: true,
    policy_migrate_ma: false,
    policy_debug_allowed: false,
    policy_single_socket: false,
    reported_tcb_bootloader: 3,
    reported_tcb_tee: 0,
    reported_tcb_snp: 20,
    reported_tcb_microcode: 209,
    platform_tsme_enabled: false,
    platform_smt_enabled: true,
    measurement: hex(48),
    report_data: hex(64),
    init_data: hex(32),
    chip_id: hex(64),
  }
}

/** Reference values that affirm the claims. */
function referenceValues(claims: Record<string, unknown>): AnswerBook {
  const values: Record<string, unknown> = {
    snp_launch_measurement: ['00', claims.measurement],
    snp_bootloader: [claims.reported_tcb_bootloader],
    snp_microcode: [claims.reported_tcb_microcode],
    snp_snp_svn: [claims.reported_tcb_snp],
    snp_tee_svn: [claims.reported_tcb_tee],
    snp_smt_enabled: claims.platform_smt_enabled,
    snp_tsme_enabled: claims.platform_tsme_enabled,
    snp_guest_abi_major: claims.policy_abi_major,
    snp_guest_abi_minor: claims.policy_abi_minor,
    snp_single_socket: claims.policy_single_socket,
    snp_smt_allowed: claims.policy_smt_allowed,
  }
  const book = new AnswerBook()
  for (const [name, value] of Object.entries(values)) book.set('query_reference_value', [name], fromJs(value))
  return book
}

function compileAttestation(text: string): CompiledPolicy {
  return compilePolicy([{ file: 'default_cpu.rego', text }], { externals: [QUERY_REFERENCE_VALUE] })
}

function benchAttestation(): void {
  const text = readFileSync(POLICY, 'utf8')
  const firstStart = performance.now()
  const policy = compileAttestation(text)
  const first = performance.now() - firstStart
  rows.push({
    work: 'compile the default CPU policy, first in process',
    median: micros(first * 1000),
    p99: '-',
    target: '25.00 ms',
    met: first < 25,
  })
  const claims = snpClaims() as Record<string, unknown>
  const input = fromJs({ snp: claims, report_data: 'ab'.repeat(64), init_data: 'cd'.repeat(32) })
  const req = request(ATTESTATION_RULES, input, referenceValues(claims))
  const vector = evaluate(policy, req)
  if (vector === undefined) throw new Error('trust_claims has no value')
  measure('default CPU policy, SNP claims', 50, () => evaluate(policy, req))
  measure('the same, parsed for each request', undefined, () => evaluate(compileAttestation(text), req))
  measure('compile the default CPU policy', 5_000, () => compileAttestation(text))
}

/** The payload of a token: one affirming submodule with its annotated evidence. */
function tokenPayload(): string {
  const evidence = {
    snp: snpClaims(),
    report_data: 'ab'.repeat(64),
    init_data_claims: { 'aa.toml': 'x'.repeat(2_000) },
  }
  const submod = {
    'ear.status': 'affirming',
    'ear.trustworthiness-vector': { executables: 3, hardware: 2, configuration: 2 },
    'ear.veraison.annotated-evidence': {
      ...evidence,
      runtime_data_claims: { nonce: 'n'.repeat(44), filler: 'y'.repeat(4_000) },
    },
  }
  return JSON.stringify({
    eat_profile: 'tag:github.com,2024:confidential-containers/Trustee',
    iat: 1,
    exp: 2,
    submods: { cpu0: submod },
  })
}

function benchResource(): void {
  const text = tokenPayload()
  const input = fromJs(JSON.parse(text))
  const data = fromJs({ plugin: 'resource', 'resource-path': ['default', 'key', '7'], query: {} })
  const compiled = compilePolicy([{ file: 'affirming.rego', text: presets.affirming }])
  const affirming = compiled.withData(data)
  const rules = ['data.policy.allow']
  if (evaluate(affirming, request(rules, input)) !== true) throw new Error('the affirming policy denies')
  measure('affirming resource policy, token read', 10, () => evaluate(affirming, request(rules, input)))
  measure(`the same with reading a payload of ${text.length} bytes`, 150, () =>
    evaluate(affirming, request(rules, parseJson(text))),
  )
  measure('the same, parsed for each request', undefined, () => {
    evaluate(compilePolicy([{ file: 'affirming.rego', text: presets.affirming }]), {
      ...request(rules, input),
      data,
    })
  })
  const many = compilePolicy([{ file: 'hundred.rego', text: hundredRules() }]).withData(data)
  if (evaluate(many, request(rules, input)) !== true) throw new Error('the policy of 100 rules denies')
  measure('resource policy of 100 rules', 20, () => evaluate(many, request(rules, input)))
}

function hundredRules(): string {
  const rule = (i: number) => `
allow if {
	data["resource-path"][2] == "${i}"
	data["resource-path"][1] == "key"
	input.submods.cpu0["ear.status"] == "affirming"
}
`
  return `package policy\n\ndefault allow := false\n${Array.from({ length: 100 }, (_, i) => rule(i)).join('')}`
}

function benchSteps(): void {
  const text = `package policy
pairs := count([1 | some x in input.a; some y in input.b; x == y])
`
  const policy = compilePolicy([{ file: 'join.rego', text }])
  const list = Array.from({ length: 1_000 }, (_, i) => i)
  const req = request(['data.policy.pairs'], fromJs({ a: list, b: list }))
  const run = () => {
    const evaluation = policy.evaluate(req)
    return evaluation.steps
  }
  run()
  const rates: number[] = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const start = performance.now()
    const steps = run()
    rates.push(steps / (performance.now() - start) / 1000)
  }
  const median = rates.sort((a, b) => a - b)[Math.floor(rates.length / 2)] ?? 0
  rows.push({
    work: 'steps a second in a tight join',
    median: `${median.toFixed(1)} M`,
    p99: '-',
    target: '> 5 M',
    met: median > 5,
  })
}

/** Heap of compiled policies, and growth over evaluations; needs `--expose-gc`. */
function benchMemory(): void {
  const { gc } = globalThis
  if (!gc) {
    console.log('memory is measured with NODE_OPTIONS=--expose-gc')
    return
  }
  const text = readFileSync(POLICY, 'utf8')
  const used = () => {
    gc()
    return process.memoryUsage().heapUsed
  }
  const before = used()
  const policies = Array.from({ length: 20 }, () => compileAttestation(text))
  const each = (used() - before) / policies.length / 1024
  rows.push({
    work: 'heap of the compiled default CPU policy',
    median: `${each.toFixed(0)} KiB`,
    p99: '-',
    target: '2048 KiB',
    met: each < 2048,
  })
  const claims = snpClaims() as Record<string, unknown>
  const req = request(ATTESTATION_RULES, fromJs({ snp: claims }), referenceValues(claims))
  const policy = policies[0] as CompiledPolicy
  for (let i = 0; i < 1_000; i++) evaluate(policy, req)
  const start = used()
  for (let i = 0; i < 100_000; i++) evaluate(policy, req)
  const growth = (used() - start) / 1024
  rows.push({
    work: 'growth over 100 000 evaluations',
    median: `${growth.toFixed(0)} KiB`,
    p99: '-',
    target: 'none',
    met: growth < 256,
  })
}

export async function run(options: readonly string[]): Promise<void> {
  const chosen = options.find((option) => option.startsWith('--seconds='))
  if (chosen) seconds = Number(chosen.slice('--seconds='.length)) || 1
  benchAttestation()
  benchResource()
  benchSteps()
  benchMemory()
  console.log(`\nNode ${process.version}, ${process.arch}\n`)
  console.log(`${'work'.padEnd(52)} ${'median'.padStart(12)} ${'p99'.padStart(12)} ${'target'.padStart(12)}`)
  for (const { work, median, p99, target, met } of rows) {
    const verdict = met === undefined ? '' : met ? 'met' : 'MISSED'
    console.log(
      `${work.padEnd(52)} ${median.padStart(12)} ${p99.padStart(12)} ${target.padStart(12)} ${verdict}`,
    )
  }
}
