import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Context, Hono } from 'hono'

export interface FakeTransitKey {
  /** Oldest first; the first is version 1. */
  readonly versions: Uint8Array[]
  minDecryptionVersion: number
}

/** Keys of type `aes256-gcm96` by name. */
export type FakeTransitKeys = Map<string, FakeTransitKey>

/** A new version of a key, which is made where there is none. */
export function rotateTransitKey(keys: FakeTransitKeys, name: string): FakeTransitKey {
  const key = keys.get(name) ?? { versions: [], minDecryptionVersion: 1 }
  key.versions.push(randomBytes(32))
  keys.set(name, key)
  return key
}

/** `transit/encrypt/:name` and `transit/decrypt/:name` of Vault's HTTP interface. */
export function mountTransit(app: Hono, keys: FakeTransitKeys, envelope: (members: object) => object): void {
  app.post('/v1/transit/encrypt/:name', async (c) => {
    const key = keys.get(c.req.param('name'))
    // with a policy that does not allow to create it
    if (key === undefined) return refuse(c, 403, 'permission denied')
    const { plaintext, associated_data = '' } = await c.req.json()
    const version = key.versions.length
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key.versions[version - 1] ?? '', nonce)
    cipher.setAAD(Buffer.from(associated_data, 'base64'))
    const encrypted = Buffer.concat([
      nonce,
      cipher.update(plaintext, 'base64'),
      cipher.final(),
      cipher.getAuthTag(),
    ])
    const ciphertext = `vault:v${version}:${encrypted.toString('base64')}`
    return c.json(envelope({ data: { ciphertext, key_version: version } }))
  })
  app.post('/v1/transit/decrypt/:name', async (c) => {
    const key = keys.get(c.req.param('name'))
    if (key === undefined) return refuse(c, 400, 'encryption key not found')
    const { ciphertext, associated_data = '' } = await c.req.json()
    const [, digits = '', text = ''] = /^vault:v(\d+):(.*)$/.exec(ciphertext) ?? []
    const version = Number(digits)
    const bytes = key.versions[version - 1]
    if (bytes === undefined) return refuse(c, 400, 'invalid ciphertext: version is too new')
    if (version < key.minDecryptionVersion) {
      return refuse(c, 400, 'ciphertext or signature version is disallowed by policy (too old)')
    }
    const sealed = Buffer.from(text, 'base64')
    try {
      const decipher = createDecipheriv('aes-256-gcm', bytes, sealed.subarray(0, 12))
      decipher.setAAD(Buffer.from(associated_data, 'base64')).setAuthTag(sealed.subarray(-16))
      const plain = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
      return c.json(envelope({ data: { plaintext: plain.toString('base64') } }))
    } catch {
      return refuse(c, 400, 'cipher: message authentication failed')
    }
  })
}

function refuse(c: Context, status: 400 | 403, problem: string): Response {
  return c.json({ errors: [problem] }, status)
}
