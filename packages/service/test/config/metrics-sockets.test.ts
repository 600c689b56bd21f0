import { parse as parseToml } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { ConfigError, type Program, parseConfig } from '../../src/index.ts'

const tls = 'private_key = "key.pem"\ncertificate = "cert.pem"'
const http = (settings: string, sockets = '0.0.0.0:8080') =>
  `[http_server]\n${settings}\nsockets = ["${sockets}"]\n`
const metrics = (settings: string) => `[metrics]\n${settings}\n`

const parse = (toml: string, program: Program) =>
  parseConfig(program, parseToml(toml) as Record<string, unknown>, {})

function refusals(toml: string, program: Program = 'kbs-attest'): readonly string[] {
  try {
    parse(toml, program)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path, problem }) => `${path} ${problem}`)
    throw error
  }
}

describe('metrics.sockets', () => {
  it('are none unless set', () => {
    expect(parse(http(tls), 'kbs-attest').metrics).not.toHaveProperty('sockets')
  })

  it.each([
    ['127.0.0.1:9090', '127.0.0.1:8080'],
    ['[::1]:9090', '0.0.0.0:8080'],
    ['0.0.0.0:8080', '127.0.0.1:9090'],
    ['127.0.0.1:8080', '127.0.0.2:8080'],
    ['127.0.0.1:0', '127.0.0.1:0'],
  ])('%s are accepted beside the guests’ %s', (socket, guests) => {
    expect(refusals(http(tls, guests) + metrics(`sockets = ["${socket}"]`))).toEqual([])
  })

  it.each([
    ['0.0.0.0:8080', '0.0.0.0:8080'],
    ['127.0.0.1:8080', '0.0.0.0:8080'],
    ['0.0.0.0:8080', '127.0.0.1:8080'],
    ['127.0.0.1:8080', '[::]:8080'],
    ['[0:0:0:0:0:0:0:0]:8080', '127.0.0.1:8080'],
    ['localhost:8080', '127.0.0.1:8080'],
  ])('%s are refused beside the guests’ %s: these would read the metrics', (socket, guests) => {
    expect(refusals(http(tls, guests) + metrics(`sockets = ["127.0.0.1:9090", "${socket}"]`))).toEqual([
      'metrics.sockets[1] is one of http_server.sockets too',
    ])
  })

  it('are refused where the attestation service has its gRPC', () => {
    const toml = `${http(tls)}[attestation_api]\ngrpc_sockets = ["0.0.0.0:9090"]\n${metrics('sockets = ["0.0.0.0:9090"]')}`
    expect(refusals(toml, 'attestation-service')).toEqual([
      'metrics.sockets[0] is one of attestation_api.grpc_sockets too',
    ])
    expect(refusals(toml)).toEqual([])
  })

  it('are refused when they are no address', () => {
    expect(refusals(http(tls) + metrics('sockets = ["127.0.0.1:90900"]'))).toEqual([
      'metrics.sockets[0] is no address',
    ])
    expect(refusals(http(tls) + metrics('sockets = []'))).toHaveLength(1)
  })

  it('need key and certificate for TLS, where guests have none', () => {
    const plainGuests = http('insecure_http = true', '127.0.0.1:8080')
    expect(refusals(plainGuests + metrics('sockets = ["127.0.0.1:9090"]'))).toEqual([])
    expect(refusals(plainGuests + metrics('sockets = ["127.0.0.1:9090"]\ninsecure_http = false'))).toEqual([
      'http_server.private_key is missing',
      'http_server.certificate is missing',
    ])
    expect(refusals(plainGuests + metrics('insecure_http = false'))).toEqual([])
  })
})
