import { encodeHex, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { describe, expect, it } from 'vitest'
import { readInitData } from '../src/init-data.ts'

const document = (data: string, { version = '0.1.0', algorithm = 'sha256' } = {}) =>
  `version = "${version}"\nalgorithm = "${algorithm}"\n\n[data]\n${data}`
const claimsOf = (text: string) => JSON.parse(stringifyJson(readInitData({ kind: 'toml', text }).claims))
const digestOf = (text: string) => encodeHex(readInitData({ kind: 'toml', text }).digest ?? new Uint8Array())

function rejection(text: string): string {
  try {
    readInitData({ kind: 'toml', text })
  } catch (error) {
    if (!(error instanceof EvidenceRejected)) throw error
    expect(error.code).toBe('INPUT_INVALID')
    return error.detail
  }
  throw new Error('was not rejected')
}

describe('the digest of init data (spec 02 §2.5, spec 01 A.2)', () => {
  const body = 'algorithm = "sha384"\nversion = "0.1.0"\n\n[data]\n"key1" = "value1"\n'

  it('is that of spec 01 A.2', () => {
    expect(digestOf(body)).toBe(
      'ad344b89d2a0c99aad897d9b86bb5d3e47a81d10a68ff85d050dfac2463a542023b209996e7f8ff001e588df394d1d09',
    )
  })

  it('covers every byte as sent: comments, spaces, CRLF', () => {
    for (const text of [`${body}\n`, body.replaceAll('\n', '\r\n'), `# note\n${body}`]) {
      expect(claimsOf(text)).toEqual({ key1: 'value1' })
      expect(digestOf(text)).not.toBe(digestOf(body))
    }
  })

  it('has the size of the algorithm that the document names', () => {
    const sizes = ['sha256', 'sha384', 'sha512', 'sm3'].map(
      (algorithm) => digestOf(document('', { algorithm })).length / 2,
    )
    expect(sizes).toEqual([32, 48, 64, 32])
  })

  it('is the digest given where there is no document, and then there are no claims', () => {
    const bytes = new Uint8Array(48).fill(7)
    expect(readInitData({ kind: 'digest', bytes })).toEqual({ digest: bytes, claims: null })
    expect(readInitData(undefined)).toEqual({ digest: undefined, claims: null })
  })

  it('is refused where no algorithm gives one of its size', () => {
    for (const size of [0, 20, 31, 33, 65]) {
      expect(() => readInitData({ kind: 'digest', bytes: new Uint8Array(size) })).toThrow(EvidenceRejected)
    }
  })
})

describe('an init-data document', () => {
  it('is of version 0.1', () => {
    expect(rejection(document('', { version: '0.2.0' }))).toContain('version')
    expect(rejection('algorithm = "sha256"\n[data]\n')).toContain('version')
  })

  it('names an algorithm in lower case without hyphen', () => {
    for (const algorithm of ['SHA256', 'sha-256', 'md5', '']) {
      expect(rejection(document('', { algorithm }))).toContain('algorithm')
    }
  })

  it('has strings only in its data', () => {
    expect(rejection(document('a = 1'))).toContain('not a string')
    expect(rejection(document('[data.a]\nb = "c"'))).toContain('not a string')
    expect(rejection('version = "0.1.0"\nalgorithm = "sha256"\ndata = "x"')).toContain('data')
    expect(rejection('version = "0.1.0"\nalgorithm = "sha256"\n')).toContain('data')
  })

  it('is TOML, Unicode, and at most 1 MiB', () => {
    expect(rejection('{"version": "0.1.0"}')).toContain('not TOML')
    expect(rejection(document('a = "\ud800"'))).toContain('Unicode')
    expect(rejection(document(`a = "${'x'.repeat(1024 * 1024)}"`))).toContain('exceeds')
  })

  it('may name its entries like members of JavaScript objects', () => {
    const { claims } = readInitData({ kind: 'toml', text: document('"__proto__" = "a"\nconstructor = "b"') })
    expect(stringifyJson(claims)).toBe('{"__proto__":"a","constructor":"b"}')
  })
})

describe('claims from init data (spec 02 §2.5)', () => {
  it('have the settings of guest components as JSON', () => {
    const text = document(`
"aa.toml" = '''
[token_configs.kbs]
url = "http://1.2.3.4:8080"
'''
"cdh.toml" = '''
[kbc]
name = "cc_kbc"
retries = 9007199254740993
ratio = 1.0
'''
other = "as it is"
`)
    const { claims } = readInitData({ kind: 'toml', text })
    expect(claims).toEqual(
      parseJson(
        `{"aa.toml": {"token_configs": {"kbs": {"url": "http://1.2.3.4:8080"}}},
          "cdh.toml": {"kbc": {"name": "cc_kbc", "retries": 9007199254740993, "ratio": 1.0}}, "other": "as it is"}`,
      ),
    )
  })

  it('keep settings that are not TOML as text', () => {
    expect(claimsOf(document(`"aa.toml" = "= nonsense"`))).toEqual({ 'aa.toml': '= nonsense' })
  })

  it('keep settings that nest too deeply as text', () => {
    const deep = `a = ${'['.repeat(200)}${']'.repeat(200)}`
    const dotted = `${Array.from({ length: 200 }, () => 'a').join('.')} = 1`
    expect(claimsOf(document(`"aa.toml" = "${deep}"\n"cdh.toml" = "${dotted}"`))).toEqual({
      'aa.toml': deep,
      'cdh.toml': dotted,
    })
  })

  const withPolicy = (rego: string) => claimsOf(document(`"policy.rego" = '''\n${rego}'''`))

  it('have the data that ends a generated agent policy in place of the policy', () => {
    const rego =
      'package agent_policy\n\ndefault AllowRequests := false\n\npolicy_data := {\n "containers": []\n}\n'
    expect(withPolicy(rego)).toEqual({ agent_policy_claims: { containers: [] } })
  })

  it.each([
    ['without such data', 'package agent_policy\nallow := true\n'],
    ['whose data is followed by a rule', 'policy_data := {"a": 1}\nallow := true\n'],
    ['whose data is not JSON', 'policy_data := {"a": input.b}\n'],
    ['whose data has a member twice', 'policy_data := {"a": 1, "a": 2}\n'],
    ['whose data is a comment', 'package agent_policy\npolicy_data = {"a": 1}\n# policy_data := {"a": 2}\n'],
    ['that defines its data twice', 'policy_data:={"a": 1}\npolicy_data := {"a": 2}\n'],
    ['that has a default for its data', 'default policy_data = {}\npolicy_data := {"a": 2}\n'],
  ])('keep an agent policy %s as text', (_, rego) => {
    expect(withPolicy(rego)).toEqual({ 'policy.rego': rego })
  })

  it('are not taken from a policy where an entry has their name', () => {
    const text = document(`agent_policy_claims = "forged"\n"policy.rego" = 'policy_data := {"a": 1}'`)
    expect(claimsOf(text)).toEqual({
      agent_policy_claims: 'forged',
      'policy.rego': 'policy_data := {"a": 1}',
    })
  })
})
