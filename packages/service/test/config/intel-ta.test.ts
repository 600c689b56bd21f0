import { describe, expect, it } from 'vitest'
import type { Program } from '../../src/config/config.ts'
import { ConfigError } from '../../src/config/config-error.ts'
import { parseConfig } from '../../src/config/load.ts'

const listener = { sockets: ['127.0.0.1:0'], insecure_http: true }
const intel = {
  type: 'intel_ta',
  base_url: 'https://api.trustauthority.intel.com',
  api_key_file: '/etc/kbs/intel.key',
  certs_file: 'https://portal.trustauthority.intel.com/certs',
}
const issuers = [{ issuer: 'Intel Trust Authority', jwk_sets: [intel.certs_file] }]

function parse(section: object, options: { program?: Program; token?: object; profile?: string } = {}) {
  const { program = 'kbs-attest', token = {}, profile = 'production' } = options
  const document = { profile, http_server: listener, attestation_service: section, attestation_token: token }
  return parseConfig(program, document, {})
}

function problemsOf(...input: Parameters<typeof parse>): readonly string[] {
  try {
    parse(...input)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path }) => path)
    throw error
  }
}

describe('[attestation_service] with type = "intel_ta"', () => {
  it.each(['intel_ta', 'IntelTA'])('is taken as %s, with Trustee’s defaults', (type) => {
    expect(parse({ ...intel, type }).attestationService).toEqual({
      type: 'intel_ta',
      timeout: 5,
      baseUrl: intel.base_url,
      apiKeyFile: intel.api_key_file,
      certsFile: intel.certs_file,
      policyIds: [],
      allowUnmatchedPolicy: false,
      requestTimeoutMs: 40_000,
    })
  })

  it('wants the API key in a file', () => {
    const { api_key_file: _, ...withoutKey } = intel
    expect(problemsOf(withoutKey)).toEqual(['attestation_service.api_key_file'])
    expect(problemsOf({ ...withoutKey, api_key: 'secret' })).toEqual(['attestation_service.api_key'])
  })

  it.each([
    ['http://api.trustauthority.intel.com', 'production'],
    ['http://api.trustauthority.intel.com', 'development'],
    ['http://127.0.0.1:1', 'production'],
    ['https://user@api.trustauthority.intel.com', 'production'],
    ['https://api.trustauthority.intel.com/?a=b', 'production'],
    ['file:///etc/intel', 'production'],
    ['/etc/intel', 'production'],
  ])('refuses the address %s in %s', (base_url, profile) => {
    expect(problemsOf({ ...intel, base_url }, { profile })).toEqual(['attestation_service.base_url'])
  })

  it('takes keys over https or from a file only', () => {
    expect(problemsOf({ ...intel, certs_file: 'http://portal.example' })).toEqual([
      'attestation_service.certs_file',
    ])
    expect(problemsOf({ ...intel, certs_file: '/etc/kbs/intel-keys.json' })).toEqual([])
  })

  it('takes UUIDs as policies', () => {
    const id = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'
    expect(parse({ ...intel, policy_ids: [id] }).attestationService).toMatchObject({ policyIds: [id] })
    expect(problemsOf({ ...intel, policy_ids: ['mine'] })).toEqual(['attestation_service.policy_ids[0]'])
  })

  it('warns where Intel demands no policy', () => {
    const warned = (section: object) =>
      parse({ ...intel, ...section }).warnings.some((text) =>
        text.startsWith('attestation_service.policy_ids'),
      )
    const policy_ids = ['aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa']
    expect(warned({})).toBe(true)
    expect(warned({ policy_ids, allow_unmatched_policy: true })).toBe(true)
    expect(warned({ policy_ids })).toBe(false)
  })

  it('warns where sessions end with the process', () => {
    const warned = (section: object) =>
      parse({ ...intel, ...section }).warnings.some((text) => text.includes('session_key_path'))
    expect(warned({})).toBe(true)
    expect(warned({ session_key_path: '/etc/kbs/session.key' })).toBe(false)
  })

  it('makes `kbs` name Intel’s keys once more, for the passports that it gets', () => {
    expect(problemsOf(intel, { program: 'kbs' })).toEqual(['attestation_token'])
    expect(problemsOf(intel, { program: 'kbs', token: { issuers } })).toEqual([])
  })

  it('is not for the program that is itself an attestation service', () => {
    expect(problemsOf(intel, { program: 'attestation-service' })).toContain('attestation_service.type')
  })

  it('has no keys of a service that verifies in the process', () => {
    expect(problemsOf({ ...intel, verifier_config: {} })).toEqual(['attestation_service.verifier_config'])
  })
})
