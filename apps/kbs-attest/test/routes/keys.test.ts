import { createServiceApp } from '@passport-kbs/service'
import { describe, expect, it } from 'vitest'
import { mountKeys } from '../../src/routes/keys.ts'
import { openTestKbs } from '../fixtures.ts'

describe('the keys that passports are verified with', () => {
  it('are published as a JWK set of public keys only, which caches may keep', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.get('/.well-known/jwks.json')
    expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
    const { keys } = (await answer.json()) as { keys: Record<string, string>[] }
    expect(keys).toHaveLength(1)
    expect(keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' })
    expect(keys[0]?.kid).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(keys[0]).not.toHaveProperty('d')
  })

  it('are found by the discovery document of the issuer', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.get('https://kbs.example:8443/.well-known/openid-configuration')
    expect(await answer.json()).toMatchObject({
      issuer: kbs.deps.attestation.issuer,
      jwks_uri: 'https://kbs.example:8443/.well-known/jwks.json',
      id_token_signing_alg_values_supported: ['ES256'],
    })
  })

  it('are named under the public address where a proxy stands in front', async () => {
    const { deps, config } = await openTestKbs()
    const app = createServiceApp({ httpServer: config.httpServer, logger: deps.logger })
    mountKeys(app, deps, 'https://attest.example')
    const answer = await app.request('http://10.0.0.7:8080/.well-known/openid-configuration')
    expect(await answer.json()).toMatchObject({ jwks_uri: 'https://attest.example/.well-known/jwks.json' })
  })
})
