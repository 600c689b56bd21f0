import { discoveryDocument } from '@passport-kbs/attestation-service'
import { problems } from '@passport-kbs/protocol'
import type { ServiceEnv } from '@passport-kbs/service'
import type { Hono } from 'hono'
import type { AttestDeps } from '../deps.ts'

/** How long a relying party may keep the key set; a rotation overlaps for longer than that. */
const cacheSeconds = 300

/**
 * The public keys of the passports: a JWK set (RFC 7517) and an OpenID discovery document that points to it, so that
 * KBS2 can be given one address.
 * @param publicUrl where relying parties reach this server; without it, where the request went to.
 */
export function mountKeys(
  app: Hono<ServiceEnv>,
  { attestation }: Pick<AttestDeps, 'attestation'>,
  publicUrl?: string,
): void {
  const headers = { 'cache-control': `public, max-age=${cacheSeconds}` }
  const publishedKeys = () => {
    const keySet = attestation.jwks()
    // a remote attestation service whose keys are not known here, or not ours to publish
    if (keySet.keys.length === 0) throw problems.notFound()
    return keySet
  }
  app.get('/.well-known/jwks.json', (c) => {
    return c.json(publishedKeys(), 200, headers)
  })
  app.get('/.well-known/openid-configuration', (c) => {
    publishedKeys()
    const { origin } = new URL(publicUrl ?? c.req.url)
    return c.json(discoveryDocument(attestation.issuer, `${origin}/.well-known/jwks.json`), 200, headers)
  })
}
