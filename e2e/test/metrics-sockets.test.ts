import { request } from 'node:https'
import { makeCertificate, makeServerIdentity } from '@passport-kbs/testing/tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOrganisation, type Organisation } from '../src/organisation.ts'
import { type Program, type ProgramName, runProgram } from '../src/program.ts'

const programs: readonly ProgramName[] = ['kbs-attest', 'kbs-resource', 'kbs', 'attestation-service']

describe('metrics on sockets of their own', () => {
  let organisation: Organisation
  let tls: Record<string, unknown>
  let issuerFile: string
  const identity = makeServerIdentity('kbs')

  beforeAll(async () => {
    organisation = await createOrganisation('operator')
    const issuer = makeCertificate({ name: 'passports', ca: true })
    issuerFile = await organisation.write('issuer.pem', issuer.pem)
    tls = {
      private_key: await organisation.write('tls.key', identity.server.keyPem),
      certificate: await organisation.write('tls.pem', identity.server.pem),
      sockets: ['127.0.0.1:0'],
    }
  })
  afterAll(() => organisation?.close())

  const config = (metrics: Record<string, unknown>, http: Record<string, unknown> = tls) => ({
    profile: 'development',
    http_server: http,
    attestation_token: { trusted_certs_paths: [issuerFile] },
    attestation_api: { grpc_sockets: ['127.0.0.1:0'] },
    plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    metrics,
  })
  const metricsUrl = async (program: Program): Promise<string> => {
    const line = await program.logged(({ msg }) => msg === 'metrics listening')
    return (line.metrics as string[])[0] ?? ''
  }
  /** Status and body over TLS, whose certificate is checked. */
  const ask = (url: string, path: string) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const { port } = new URL(url)
      const asked = request(
        { host: 'localhost', port, path, ca: identity.ca.pem, agent: false },
        (answer) => {
          let body = ''
          answer.on('data', (chunk: Buffer) => {
            body += chunk.toString()
          })
          answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body }))
        },
      )
      asked.once('error', reject).end()
    })

  it.each(programs)(
    '%s serves them by plain HTTP there, and not to those who come by TLS',
    async (name) => {
      const program = await organisation.start(
        name,
        config({ sockets: ['127.0.0.1:0'], insecure_http: true }),
      )
      const url = await metricsUrl(program)
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
      for (const path of ['/healthz', '/readyz']) {
        expect((await fetch(url + path)).status).toBe(200)
        expect((await ask(program.url, path)).status).toBe(200)
      }
      expect((await ask(program.url, '/metrics')).status).toBe(404)
      expect((await ask(program.url, '/kbs/v0/nothing')).status).toBe(404)
      const answer = await fetch(`${url}/metrics`)
      expect(answer.headers.get('strict-transport-security')).toBeNull()
      expect(await answer.text()).toContain('kbs_http_requests_total 1')
      for (const path of ['/kbs/v0/nothing', '/kbs/v0/auth', '/policy', '/.well-known/jwks.json'])
        expect((await fetch(url + path)).status).toBe(404)
      expect(await program.stop()).toBe(0)
      await expect(fetch(url)).rejects.toThrow()
    },
    30_000,
  )

  it('are over TLS with the certificate of the guests’ port unless said otherwise', async () => {
    const program = await organisation.start('kbs-attest', config({ sockets: ['127.0.0.1:0'] }))
    const url = await metricsUrl(program)
    expect(url).toMatch(/^https:/)
    expect((await ask(url, '/metrics')).body).toContain('kbs_build_info')
    expect(await program.stop()).toBe(0)
  }, 30_000)

  it('do not start on a socket of the guests', async () => {
    const configFile = await organisation.write(
      'refused.toml',
      '[http_server]\ninsecure_http = true\nsockets = ["127.0.0.1:18080"]\n[metrics]\nsockets = ["0.0.0.0:18080"]\n',
    )
    const { code, stderr } = await runProgram('kbs-attest', { configFile })
    expect(code).toBe(78)
    expect(stderr).toContain('metrics.sockets[0]: is one of http_server.sockets too')
  }, 30_000)
})
