import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kbsctl } from './kbsctl.ts'

const secretClaim = 'a0b1c2d3e4f5-measurement-of-a-guest'
const token = (claims: object) =>
  `eyJhbGciOiJFUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.AA`
const snpToken = {
  submods: {
    cpu0: {
      'ear.status': 'affirming',
      'ear.veraison.annotated-evidence': { snp: { measurement: secretClaim, policy_debug_allowed: false } },
    },
  },
}

const resourcePolicy = `package policy

default allow := false

evidence := input.submods.cpu0["ear.veraison.annotated-evidence"]

allow if {
	data.plugin == "resource"
	evidence.snp.measurement == "the one"
}

allow if evidence.tdx.quote.body.mr_td == "another"
`
const attestationPolicy = `package policy

default executables := 33

executables := 3 if input.snp.measurement in query_reference_value("snp_launch_measurement")

trust_claims := {"executables": executables}
`

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
  await Promise.all(
    Object.entries({
      'resource.rego': resourcePolicy,
      'attestation.rego': attestationPolicy,
      'token.jwt': token(snpToken),
      'payload.json': JSON.stringify(snpToken),
      'report.json': JSON.stringify({
        tee: 'snp',
        verified: true,
        evidence: [{ tee: 'snp', class: 'cpu', claims: { measurement: secretClaim, report_data: '00' } }],
      }),
      'values.json': JSON.stringify({ snp_launch_measurement: [secretClaim] }),
    }).map(([name, text]) => writeFile(join(folder, name), text)),
  )
})
afterAll(() => rm(folder, { recursive: true }))

const run = (...args: string[]) => kbsctl(['policy', ...args], { cwd: folder })

describe('policy check', () => {
  it('shows line, column, the source line and a remedy', async () => {
    await writeFile(join(folder, 'bad.rego'), 'package policy\n\nallow if unheard_of(input.x)\n')
    const { status, stderr, stdout } = await run('check', 'bad.rego')
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    const [place, source, marker, remedy] = stderr.split('\n')
    expect(place).toBe('bad.rego:3:10: error: there is no function `unheard_of` [unknown_function]')
    expect(source).toBe('    allow if unheard_of(input.x)')
    expect(marker?.indexOf('^')).toBe(source?.indexOf('unheard_of'))
    expect(remedy).toMatch(/^ {4}correct the name/)
  })

  it('passes with warnings, and fails on them when told to', async () => {
    await writeFile(
      join(folder, 'typo.rego'),
      'package policy\n\nallow if input.submods.cpu0["ear.statsu"]\n',
    )
    const outcome = await run('check', 'typo.rego')
    expect(outcome).toMatchObject({ status: 0, stdout: 'typo.rego: ok\n' })
    expect(outcome.stderr).toContain('did you mean "ear.status"?')
    expect(outcome.stderr).toContain('[unknown_claim]')
    expect((await run('check', '--strict', 'typo.rego')).status).toBe(1)
  })

  it('tells what a policy is for from its text, and compiles it as the service will', async () => {
    expect((await run('check', 'attestation.rego')).status).toBe(0)
    const outcome = await run('check', '--for', 'resource', 'attestation.rego')
    expect(outcome.status).toBe(1)
    expect(outcome.stderr).toContain('query_reference_value')
  })

  it('names reference values that are not registered', async () => {
    await writeFile(join(folder, 'none.json'), '{}')
    const { status, stderr } = await run('check', '--reference-values', 'none.json', 'attestation.rego')
    expect(status).toBe(0)
    expect(stderr).toContain('no reference value "snp_launch_measurement" is registered')
  })

  it('prints JSON for programs', async () => {
    const { stdout } = await run('check', '--json', 'bad.rego')
    expect(JSON.parse(stdout)).toMatchObject([
      { severity: 'error', code: 'unknown_function', line: 3, column: 10 },
    ])
  })
})

describe('policy claims', () => {
  it('lists the paths of a TEE, and those of a token', async () => {
    const snp = await run('claims', 'snp')
    expect(snp.stdout).toContain('input.snp.measurement: string\n')
    expect(snp.stdout).toContain('input.report_data: string, not always\n')
    const token = await run('claims')
    expect(token.stdout).toContain('input.submods[name]["ear.status"]: string\n')
    expect((await run('claims', 'toaster')).status).toBe(1)
  })
})

describe('policy test', () => {
  const tests = `package policy_test

import data.policy

test_releases_to_the_one if {
	policy.allow with input as data.guest with data.plugin as "resource"
}

test_denies_without_input if not policy.allow
`
  it('runs the rules whose names start with test_, with coverage', async () => {
    await writeFile(join(folder, 'resource_test.rego'), tests)
    const guest = structuredClone(snpToken)
    guest.submods.cpu0['ear.veraison.annotated-evidence'].snp.measurement = 'the one'
    await writeFile(join(folder, 'guests.json'), JSON.stringify({ guest }))
    const { status, stdout } = await run(
      'test',
      '--data',
      'guests.json',
      'resource.rego',
      'resource_test.rego',
    )
    expect(status).toBe(0)
    expect(stdout).toContain('pass  data.policy_test.test_releases_to_the_one\n')
    expect(stdout).toContain('2 passed, 0 failed\n')
    expect(stdout).toMatch(/coverage [\d.]+ %/)
  })

  it('fails when a test does, and names it', async () => {
    const { status, stdout } = await run('test', 'resource.rego', 'resource_test.rego')
    expect(status).toBe(1)
    expect(stdout).toContain('FAIL  data.policy_test.test_releases_to_the_one (resource_test.rego:5)')
    expect(stdout).toContain('1 passed, 1 failed\n')
  })

  it('fails below the coverage that is asked for, and without tests', async () => {
    await writeFile(join(folder, 'one_test.rego'), 'package policy\n\ntest_nothing if true\n')
    const outcome = await run('test', '--min-coverage', '80', 'resource.rego', 'one_test.rego')
    expect(outcome.status).toBe(1)
    expect(outcome.stderr).toContain('coverage is below 80 %')
    expect(outcome.stdout).toContain('resource.rego: not covered: lines')
    expect((await run('test', 'resource.rego')).status).toBe(1)
  })
})

describe('policy eval', () => {
  it('shows for a recorded token which expression failed and which path is undefined', async () => {
    const { status, stdout } = await run('eval', 'resource.rego', '--input', 'token.jwt')
    expect(status).toBe(1)
    expect(stdout).toContain('data.policy.allow: false\n')
    expect(stdout).toMatch(/held +8: data\.plugin == "resource"/)
    expect(stdout).toMatch(/failed +9: evidence\.snp\.measurement == "the one"/)
    expect(stdout).toContain('`evidence.tdx.quote.body.mr_td` is undefined')
  })

  it('never prints a claim', async () => {
    for (const format of [[], ['--json']]) {
      const { stdout, stderr } = await run('eval', 'resource.rego', '--input', 'payload.json', ...format)
      expect(stdout + stderr).not.toContain(secretClaim)
    }
  })

  it('takes the report of verify for an attestation policy, with reference values from a file', async () => {
    const known = await run(
      'eval',
      'attestation.rego',
      '--input',
      'report.json',
      '--reference-values',
      'values.json',
    )
    expect(known.status).toBe(0)
    expect(known.stdout).toContain('data.policy.trust_claims: {"executables":3}')
    const unknown = await run('eval', 'attestation.rego', '--input', 'report.json')
    expect(unknown.stdout).toContain('data.policy.trust_claims: {"executables":33}')
    expect(unknown.stdout).toContain('unknown reference value, so null: "snp_launch_measurement"')
  })

  it('takes the evidence of a submod of a token for an attestation policy', async () => {
    const args = ['eval', 'attestation.rego', '--input', 'token.jwt', '--reference-values', 'values.json']
    expect((await run(...args)).stdout).toContain('{"executables":3}')
    const outcome = await run(...args, '--submod', 'gpu0')
    expect(outcome).toMatchObject({ status: 1, stdout: '' })
    expect(outcome.stderr).toContain('gpu0')
  })
})

describe('policy diff', () => {
  it('names the recorded decisions that change under a new policy', async () => {
    await writeFile(join(folder, 'strict.rego'), 'package policy\n\ndefault allow := false\n')
    await writeFile(join(folder, 'loose.rego'), 'package policy\n\nallow if input.submods\n')
    const outcome = await run('diff', 'strict.rego', 'token.jwt', 'payload.json', '--old', 'loose.rego')
    expect(outcome.status).toBe(1)
    expect(outcome.stdout).toContain('token.jwt\n  - allowed\n  + denied (data.policy.allow is false)\n')
    expect(outcome.stdout).toContain('2 of 2 decisions change\n')
    expect(await run('diff', 'strict.rego', 'token.jwt', '--old', 'strict.rego')).toMatchObject({
      status: 0,
      stdout: '0 of 1 decisions change\n',
    })
  })

  it('compares with what was recorded', async () => {
    const data = { plugin: 'resource', 'resource-path': ['a', 'b', 'c'], query: {}, method: 'GET' }
    const lines = [
      { name: 'first', input: snpToken, data, decision: 'allowed' },
      { name: 'second', token: token(snpToken), data, decision: 'denied' },
    ]
    await writeFile(join(folder, 'recorded.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const { status, stdout } = await run('diff', 'strict.rego', 'recorded.jsonl')
    expect(status).toBe(1)
    expect(stdout).toBe(
      'recorded.jsonl:1 (first)\n  - allowed\n  + denied (data.policy.allow is false)\n1 of 2 decisions change\n',
    )
  })

  it('of attestation policies shows the trust claims', async () => {
    await writeFile(join(folder, 'lower.rego'), attestationPolicy.replace(':= 3 if', ':= 2 if'))
    const { stdout } = await run(
      ...['diff', 'lower.rego', 'report.json', '--old', 'attestation.rego'],
      ...['--reference-values', 'values.json'],
    )
    expect(stdout).toContain('  - executables 3\n  + executables 2\n')
  })
})

describe('policies of a server', () => {
  it('that does not know the workbench are refused with a hint', async () => {
    const server = createServer((_request, response) => response.end('["resource-policy"]'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const outcome = await kbsctl(['--url', url, 'policy', 'get'], { cwd: folder })
    expect(outcome).toMatchObject({ status: 1, stdout: '' })
    expect(outcome.stderr).toContain('it may be too old')
    server.close()
  })

  it('are not asked for a version that is no hash', async () => {
    const outcome = await run('rollback', '../x')
    expect(outcome).toMatchObject({ status: 1, stdout: '' })
    expect(outcome.stderr).toContain('96 hexadecimal digits')
  })
})
