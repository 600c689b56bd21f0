import { z } from 'zod'
import { count, filePath, webAddress } from './schema-values.ts'

const issuerSchema = z
  .strictObject({
    issuer: z.string().min(1).max(1024).optional().describe('Ours: value that `iss` must have.'),
    audience: z.string().min(1).max(1024).optional().describe('Ours: value that must be in `aud`.'),
    jwk_sets: z
      .array(webAddress())
      .max(16)
      .default([])
      .describe(
        'Ours: JWK sets or OpenID discovery base addresses of this issuer: path, `file://` or `https://`.',
      ),
    certs: z
      .array(filePath())
      .max(16)
      .default([])
      .describe('Ours: PEM files with the CA certificates that may certify this issuer’s signing key.'),
    ca: filePath().optional().describe('Ours: PEM file with the CA that https sources are checked against.'),
  })
  .refine((issuer) => issuer.jwk_sets.length + issuer.certs.length > 0, {
    message: 'needs keys: set jwk_sets or certs',
  })

export const attestationTokenSchema = z.strictObject({
  trusted_certs_paths: z
    .array(filePath())
    .max(32)
    .default([])
    .describe(
      'PEM files with CA certificates; a passport signed by a key that they certify is accepted, whatever its issuer.',
    ),
  trusted_jwk_sets: z
    .array(webAddress())
    .max(32)
    .default([])
    .describe(
      'JWK sets (path, `file://`, `https://` or OpenID discovery); their keys are accepted, whatever the issuer.',
    ),
  extra_teekey_paths: z
    .array(
      z
        .string()
        .regex(/^(?:\/(?:[^~]|~[01])*)?$/, 'must be a JSON pointer')
        .max(1024),
    )
    .max(32)
    .default([])
    .describe('JSON pointers to the TEE public key, tried before the usual places.'),
  insecure_header_jwk: z
    .boolean()
    .default(false)
    .describe(
      'Believe the key in the token’s own header: anyone can make passports. Development profile only.',
    ),
  issuers: z
    .array(issuerSchema)
    .max(32)
    .default([])
    .describe('Ours: trusted issuers, each with its own keys.'),
  audience: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('Ours: value that must be in `aud` of every passport, whoever issued it.'),
  jwks_refresh_seconds: count(10, 86_400)
    .default(300)
    .describe('Ours: interval at which key sources are read again; files every 10 s.'),
  jwks_cooldown_seconds: count(1, 3_600)
    .default(30)
    .describe('Ours: shortest time between two reads that unknown keys provoke.'),
  jwks_max_age_seconds: count(60, 2_592_000)
    .default(86_400)
    .describe('Ours: time for which the last good keys are used while their source does not answer.'),
  clock_skew_seconds: count(0, 300)
    .default(60)
    .describe('Ours: tolerated clock difference for `exp` and `nbf`.'),
})
