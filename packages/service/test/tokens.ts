import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompactSign, calculateJwkThumbprint, type JWK } from 'jose'

/** A signing key with its public JWK, which has `kid` and `alg`. */
export interface Signer {
  readonly algorithm: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly kid: string
  readonly jwk: JWK
  readonly publicPem: string
}

const generators: Readonly<Record<string, () => { privateKey: KeyObject; publicKey: KeyObject }>> = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS384: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
}

export async function makeSigner(algorithm = 'ES256', keys = generators[algorithm]?.()): Promise<Signer> {
  if (keys === undefined) throw new Error(`no keys for ${algorithm}`)
  const exported = keys.publicKey.export({ format: 'jwk' }) as JWK
  const kid = await calculateJwkThumbprint(exported)
  return {
    algorithm,
    ...keys,
    kid,
    jwk: { ...exported, kid, alg: algorithm },
    publicPem: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

/** Signs claims; `header` members override `alg` and `kid`, an undefined one removes it. */
export function signToken(
  signer: Signer,
  claims: Record<string, unknown> | string,
  header: Record<string, unknown> = {},
): Promise<string> {
  const payload = new TextEncoder().encode(typeof claims === 'string' ? claims : JSON.stringify(claims))
  const protectedHeader = Object.fromEntries(
    Object.entries({ alg: signer.algorithm, kid: signer.kid, ...header }).filter(
      ([, value]) => value !== undefined,
    ),
  )
  return new CompactSign(payload)
    .setProtectedHeader(protectedHeader as { alg: string })
    .sign(signer.privateKey)
}

export async function temporaryFile(name: string, text: string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'kbs-test-')), name)
  await writeFile(path, text)
  return path
}

export const keySetOf = (...signers: readonly Signer[]): string =>
  JSON.stringify({ keys: signers.map(({ jwk }) => jwk) })

/** Seconds since 1970. */
export const epoch = (offsetSeconds = 0): number => Math.floor(Date.now() / 1000) + offsetSeconds
