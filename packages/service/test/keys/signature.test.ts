import { sign } from 'node:crypto'
import { decodeBase64UrlNoPad } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { isValidSignature } from '../../src/keys/signature.ts'
import { makeSigner, signToken } from '../tokens.ts'

/** Message and signature of a token that another implementation has made. */
async function signedBy(
  signer: Awaited<ReturnType<typeof makeSigner>>,
): Promise<{ message: Uint8Array; signature: Uint8Array }> {
  const token = await signToken(signer, { a: 1 })
  const end = token.lastIndexOf('.')
  return { message: Buffer.from(token.slice(0, end)), signature: decodeBase64UrlNoPad(token.slice(end + 1)) }
}

describe('a signature', () => {
  it.each([
    'ES256',
    'ES384',
    'ES512',
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'EdDSA',
    'Ed25519',
  ])('of %s verifies, and no other message or signature does', async (algorithm) => {
    const family = algorithm.startsWith('Ed') ? 'EdDSA' : /^[RP]S/.test(algorithm) ? 'RS256' : algorithm
    const signer = { ...(await makeSigner(family)), algorithm }
    const { message, signature } = await signedBy(signer)
    const key = signer.publicKey
    expect(isValidSignature(algorithm, key, message, signature)).toBe(true)
    expect(isValidSignature(algorithm, key, Buffer.concat([message, message]), signature)).toBe(false)
    for (const at of [0, signature.length - 1]) {
      const changed = Uint8Array.from(signature, (byte, index) => (index === at ? byte ^ 1 : byte))
      expect(isValidSignature(algorithm, key, message, changed)).toBe(false)
    }
    expect(isValidSignature(algorithm, key, message, signature.slice(1))).toBe(false)
    expect(isValidSignature(algorithm, key, message, Buffer.concat([signature, Buffer.alloc(1)]))).toBe(false)
    expect(isValidSignature(algorithm, key, message, new Uint8Array())).toBe(false)
  })

  it('of ECDSA is r and s, neither DER nor zero', async () => {
    const signer = await makeSigner('ES256')
    const { message } = await signedBy(signer)
    const der = sign('sha256', message, signer.privateKey)
    expect(isValidSignature('ES256', signer.publicKey, message, der)).toBe(false)
    expect(isValidSignature('ES256', signer.publicKey, message, new Uint8Array(64))).toBe(false)
  })

  it('verifies with no algorithm that is not in the table, nor with a key that does not go with it', async () => {
    const signer = await makeSigner('ES256')
    const { message, signature } = await signedBy(signer)
    for (const algorithm of ['none', 'HS256', 'ES384', 'RS256', 'PS256', 'EdDSA', '', 'constructor']) {
      expect(isValidSignature(algorithm, signer.publicKey, message, signature)).toBe(false)
    }
  })
})
