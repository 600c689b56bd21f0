import { describe, expect, it } from 'vitest'
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
})
