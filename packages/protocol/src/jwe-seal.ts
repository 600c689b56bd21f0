import { createCipheriv, createPublicKey, type KeyObject } from 'node:crypto'
import { encodeBase64Url } from './encoding.ts'
import { type JsonObject, jsonObject, stringifyJson } from './json.ts'
import type { JweResponse } from './jwe.ts'
import { ecdhWrappingKey, mlKemEncapsulate, mlKemWrappingKey, rsaEncrypt, wrapKey } from './key-wrap.ts'
import type { EcTeePublicKey, TeePublicKey } from './tee-key.ts'

/** What has to be random in a JWE. Apart from the caller's so that vectors can fix it; not part of the public interface. */
export interface SealSecrets {
  /** Content encryption key, 32 bytes. */
  readonly cek: Uint8Array
  /** 12 bytes. */
  readonly iv: Uint8Array
  /** Makes the ephemeral private key for a curve. */
  readonly ephemeralKey: (curve: EcTeePublicKey['crv']) => KeyObject
}

/** Seals `plaintext` for the TEE that holds the private half of `key` (spec 01 §3.2-3.3). */
export function sealWith(key: TeePublicKey, plaintext: Uint8Array, secrets: SealSecrets): JweResponse {
  const { header, encryptedKey } = encryptedCek(key, secrets)
  const encodedHeader = encodeBase64Url(Buffer.from(stringifyJson(header), 'utf8'))
  const cipher = createCipheriv('aes-256-gcm', secrets.cek, secrets.iv)
  cipher.setAAD(Buffer.from(encodedHeader, 'ascii'))
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return {
    protected: encodedHeader,
    encrypted_key: encodeBase64Url(encryptedKey),
    iv: encodeBase64Url(secrets.iv),
    ciphertext: encodeBase64Url(ciphertext),
    tag: encodeBase64Url(cipher.getAuthTag()),
  }
}

/**
 * The header's members are in the order in which every build of the guest writes them again to get the additional data;
 * no other member may be added (spec 01 §3.3).
 */
function encryptedCek(
  key: TeePublicKey,
  { cek, ephemeralKey }: SealSecrets,
): { header: JsonObject; encryptedKey: Uint8Array } {
  const enc = 'A256GCM'
  switch (key.kty) {
    case 'EC': {
      const ephemeral = ephemeralKey(key.crv)
      const wrappingKey = ecdhWrappingKey(ephemeral, key.key)
      const epk = ephemeralPublicJwk(ephemeral, key.crv)
      return { header: jsonObject({ alg: key.alg, enc, epk }), encryptedKey: wrapKey(wrappingKey, cek) }
    }
    case 'RSA':
      return { header: jsonObject({ alg: key.alg, enc }), encryptedKey: rsaEncrypt(key.alg, key.key, cek) }
    case 'AKP': {
      const { secret, ciphertext } = mlKemEncapsulate(key.key)
      const ek = encodeBase64Url(ciphertext)
      const wrappingKey = mlKemWrappingKey(secret)
      return { header: jsonObject({ alg: key.alg, enc, ek }), encryptedKey: wrapKey(wrappingKey, cek) }
    }
  }
}

function ephemeralPublicJwk(ephemeral: KeyObject, crv: EcTeePublicKey['crv']): JsonObject {
  // OpenSSL pads coordinates to the curve's width
  const { x = '', y = '' } = createPublicKey(ephemeral).export({ format: 'jwk' })
  return jsonObject({ crv, kty: 'EC', x, y })
}
