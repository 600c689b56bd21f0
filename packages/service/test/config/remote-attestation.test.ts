import { parse as parseToml } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import {
  builtInAttestation,
  ConfigError,
  type Program,
  parseConfig,
  referenceValueAddress,
} from '../../src/index.ts'

const plain = '[http_server]\ninsecure_http = true\n'
const remote = (settings: string) => `${plain}[attestation_service]\ntype = "coco_as_grpc"\n${settings}`
const api = (settings: string, http = plain) => `${http}[attestation_api]\n${settings}`

const parse = (toml: string, program: Program = 'kbs-attest', profile = 'production') =>
  parseConfig(program, parseToml(toml) as Record<string, unknown>, { KBS_PROFILE: profile })

function pathsOf(toml: string, program: Program = 'kbs-attest'): readonly string[] {
  try {
    parse(toml, program)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path }) => path)
    throw error
  }
}

describe('rvps_config with type "GrpcRemote"', () => {
  const provider = (settings: string) =>
    `${plain}[attestation_service.rvps_config]\ntype = "GrpcRemote"\n${settings}`

  it('has Trustee’s address, and takes it as Trustee does', () => {
    const { rvpsConfig } = builtInAttestation(parse(provider('extractors = {}\n')))
    expect(rvpsConfig).toMatchObject({ address: '127.0.0.1:50003', requestTimeoutMs: 5_000, cacheMs: 1_000 })
    expect(referenceValueAddress('rvps:50003')).toBe('http://rvps:50003')
    expect(referenceValueAddress('https://rvps')).toBe('https://rvps')
  })

  it.each([
    ['address = "rvps:1/path"', 'address'],
    ['address = "grpc://rvps:1"', 'address'],
    ['ca = "ca.pem"', 'ca'],
    ['address = "https://rvps"\nclient_key = "key.pem"', 'client_certificate'],
    ['address = "rvps:1"\ntoken_file = "token"', 'token_file'],
    ['storage_type = "Memory"', 'storage_type'],
    ['require_signed = true', 'require_signed'],
  ])('%s is refused', (settings, key) => {
    expect(pathsOf(provider(settings))).toEqual([`attestation_service.rvps_config.${key}`])
  })

  it('warns where values travel unprotected', () => {
    expect(parse(provider('address = "rvps:50003"')).warnings.join()).toMatch(/rvps_config.address/)
    expect(parse(provider('address = "https://rvps:50003"')).warnings.join()).not.toMatch(/rvps_config/)
  })

  it('is of no effect where nothing is verified', () => {
    const keys = '[attestation_token]\ntrusted_jwk_sets = ["keys.json"]\n'
    expect(pathsOf(provider('address = "rvps:1/x"\n') + keys, 'kbs-resource')).toEqual([])
  })
})

describe('attestation_service with type "coco_as_grpc"', () => {
  it.each(['coco_as_grpc', 'CoCoASGrpc'])(
    '%s has Trustee’s defaults, and a deadline below the guest’s',
    (type) => {
      const { attestationService } = parse(`${plain}[attestation_service]\ntype = "${type}"\n`)
      expect(attestationService).toMatchObject({
        type: 'coco_as_grpc',
        timeout: 5,
        asAddr: 'http://127.0.0.1:50004',
        poolSize: 100,
        requestTimeoutMs: 40_000,
        policyId: 'default',
      })
    },
  )

  it.each([
    ['as_addr = "as:50004"', 'as_addr'],
    ['as_addr = "grpc://as:50004"', 'as_addr'],
    ['as_addr = "http://as:50004/path"', 'as_addr'],
    ['ca = "ca.pem"', 'ca'],
    ['as_addr = "https://as"\nclient_key = "key.pem"', 'client_certificate'],
    ['client_key = "key.pem"\nclient_certificate = "cert.pem"', 'client_certificate'],
    ['as_addr = "http://as"\ntoken_file = "token"', 'token_file'],
    ['jwk_set_uri = "http://as/jwks"', 'jwk_set_uri'],
    ['request_timeout_ms = 60000', 'request_timeout_ms'],
    ['verifier_config = {}', 'verifier_config'],
  ])('%s is refused', (settings, key) => {
    expect(pathsOf(remote(settings))).toEqual([`attestation_service.${key}`])
  })

  it.each([
    'as_addr = "https://as:50004"\nca = "ca.pem"\nclient_key = "key.pem"\nclient_certificate = "cert.pem"',
    'token_file = "token"',
    'as_addr = "https://as"\njwk_set_uri = "https://as:8080/.well-known/jwks.json"',
  ])('%s is taken', (settings) => {
    expect(pathsOf(remote(settings))).toEqual([])
  })

  it('warns where the way to the service is open, and where its tokens are passed on unverified', () => {
    const { warnings } = parse(remote('as_addr = "http://as:50004"'))
    expect(warnings.join('\n')).toMatch(/as_addr: evidence, policies and tokens travel unencrypted/)
    expect(warnings.join('\n')).toMatch(/jwk_set_uri: without it/)
  })

  it('needs keys in kbs, which accepts the tokens itself', () => {
    expect(pathsOf(remote(''), 'kbs')).toEqual(['attestation_token'])
    expect(pathsOf(remote('jwk_set_uri = "keys.json"'), 'kbs')).toEqual([])
  })

  it('has no effect in kbs-resource, and no place in the attestation service itself', () => {
    const trusted = `${remote('')}[attestation_token]\ntrusted_certs_paths = ["ca.pem"]\n`
    expect(pathsOf(trusted, 'kbs-resource')).toEqual([])
    expect(pathsOf(remote(''), 'attestation-service')).toEqual(['attestation_service.type'])
  })
})

describe('attestation_api', () => {
  const tls = '[http_server]\nprivate_key = "key.pem"\ncertificate = "cert.pem"\n'
  const withToken = 'clients = [{ name = "a", token_file = "a.token" }]\n'
  const withName = 'clients = [{ name = "a", certificate_name = "a.example" }]\n'

  it('listens where Trustee’s AS does, and gives a client the scope to attest', () => {
    const config = parse(api(withToken), 'attestation-service')
    expect(config.attestationApi).toMatchObject({
      grpcSockets: ['127.0.0.1:50004'],
      clients: [{ name: 'a', scopes: ['attest'] }],
    })
    expect(config.attestationApi.anonymous).toBeUndefined()
  })

  it.each([
    [api('grpc_sockets = ["127.0.0.1:99999"]\n'), ['attestation_api.grpc_sockets[0]']],
    [api(withName), ['attestation_api.client_ca', 'http_server.insecure_http']],
    [api(`grpc_sockets = ["0.0.0.0:1"]\n${withToken}`), ['http_server.insecure_http']],
    [api('grpc_sockets = ["0.0.0.0:1"]\nanonymous = ["administer"]\n', tls), ['attestation_api.anonymous']],
    [api('clients = [{ name = "a" }]\n'), ['attestation_api.clients[0]']],
    [
      api('clients = [{ name = "a", certificate_name = "a, b" }]\n'),
      ['attestation_api.clients[0].certificate_name'],
    ],
  ])('%j is refused', (toml, paths) => {
    expect(pathsOf(toml, 'attestation-service')).toEqual(paths)
  })

  it('lets strangers have evidence evaluated off loopback, with a warning', () => {
    const config = parse(
      api('grpc_sockets = ["0.0.0.0:1"]\nanonymous = ["attest"]\n', tls),
      'attestation-service',
    )
    expect(config.warnings.join('\n')).toMatch(/attestation_api.anonymous: whoever reaches the sockets/)
  })

  it('is pointed out where it has no effect', () => {
    expect(parse(api(withToken)).warnings.join('\n')).toMatch(/attestation_api has no effect/)
  })
})

describe('signed reference values', () => {
  const rvps = (settings: string) => `${plain}[attestation_service.rvps_config]\n${settings}`

  it('are not asked for unless the configuration says so, which needs keys', () => {
    expect(builtInAttestation(parse(plain)).rvpsConfig).toMatchObject({
      trustedKeys: [],
      requireSigned: false,
    })
    expect(pathsOf(rvps('require_signed = true\n'))).toEqual(['attestation_service.rvps_config'])
    expect(pathsOf(rvps('require_signed = true\ntrusted_keys = ["key.pem"]\n'))).toEqual([])
  })
})
