import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  privateEncrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import type { Context, Hono } from 'hono'

export interface FakeKeyVersion {
  readonly id: string
  /** An RSA key pair, or 32 bytes of a symmetric key. */
  readonly key: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } | Uint8Array
  enabled: boolean
  /** Seconds since 1970. */
  expires?: number
}

/** Versions of each key by name, oldest first. */
export type FakeKeys = Map<string, FakeKeyVersion[]>

/** A new version of a key, which is made where there is none: RSA, or as a Managed HSM has them `oct-HSM`. */
export function rotateKey(keys: FakeKeys, name: string, type: 'RSA' | 'oct-HSM' = 'RSA'): FakeKeyVersion {
  const key = type === 'RSA' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : randomBytes(32)
  const version: FakeKeyVersion = { id: randomBytes(16).toString('hex'), key, enabled: true }
  keys.set(name, [...(keys.get(name) ?? []), version])
  return version
}

/**
 * `GET /keys/{name}/{version}`, and `POST …/wrapkey`, `…/unwrapkey` and `…/sign` of the REST interface of Azure Key Vault.
 *
 * @param denied operations that the caller has no role for
 */
export function mountKeys(app: Hono, base: () => string, keys: FakeKeys, denied: ReadonlySet<string>): void {
  const kid = (name: string, { id }: FakeKeyVersion) => `${base()}/keys/${name}/${id}`
  const find = (name: string, version: string) => {
    const all = keys.get(name) ?? []
    return version === '' ? all.at(-1) : all.find(({ id }) => id === version)
  }
  app.use('/keys/*', async (c, next) => {
    if (c.req.query('api-version') === undefined) return refuse(c, 400, 'BadParameter')
    return next()
  })
  app.get('/keys/:name/:version?', (c) => {
    const { name, version = '' } = c.req.param() as { name: string; version?: string }
    if (denied.has('get')) return refuse(c, 403, 'Forbidden', 'ForbiddenByRbac')
    const found = find(name, version)
    if (found === undefined) return refuse(c, 404, 'KeyNotFound')
    const { enabled, expires } = found
    const attributes = { enabled, created: 1, updated: 1, ...(expires === undefined ? {} : { exp: expires }) }
    return c.json({ key: { kid: kid(name, found), ...publicMembers(found) }, attributes })
  })
  app.post('/keys/:name/:version/:operation', async (c) => {
    const { name, version, operation } = c.req.param()
    const work = operations[operation]
    if (work === undefined) return refuse(c, 404, 'NotFound')
    if (denied.has(operation)) return refuse(c, 403, 'Forbidden', 'ForbiddenByRbac')
    const found = find(name, version)
    if (found === undefined) return refuse(c, 404, 'KeyNotFound')
    if (!found.enabled) return refuse(c, 403, 'Forbidden', 'KeyDisabled')
    // out of its time a key still undoes what it has done
    if (found.expires !== undefined && found.expires < Date.now() / 1_000 && operation !== 'unwrapkey') {
      return refuse(c, 403, 'Forbidden', 'KeyExpired')
    }
    const { alg, value } = await c.req.json()
    try {
      const result = work(found, alg, Buffer.from(value, 'base64url'))
      return c.json({ kid: kid(name, found), value: Buffer.from(result).toString('base64url') })
    } catch {
      return refuse(c, 400, 'BadParameter')
    }
  })
}

function publicMembers({ key }: FakeKeyVersion) {
  if (key instanceof Uint8Array) return { kty: 'oct-HSM', key_ops: ['wrapKey', 'unwrapKey'] }
  const { n, e } = key.publicKey.export({ format: 'jwk' })
  return { kty: 'RSA', key_ops: ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey'], n, e }
}

type Operation = (version: FakeKeyVersion, algorithm: string, value: Uint8Array) => Uint8Array

const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
/** RFC 3394 §2.2.3.1. */
const wrapIv = Buffer.alloc(8, 0xa6)

const operations: Readonly<Record<string, Operation>> = {
  wrapkey({ key }, algorithm, value) {
    if (key instanceof Uint8Array) {
      if (algorithm !== 'A256KW') throw new RangeError(algorithm)
      const cipher = createCipheriv('id-aes256-wrap', key, wrapIv)
      return Buffer.concat([cipher.update(value), cipher.final()])
    }
    if (algorithm !== 'RSA-OAEP-256') throw new RangeError(algorithm)
    return publicEncrypt({ key: key.publicKey, ...oaep }, value)
  },
  unwrapkey({ key }, algorithm, value) {
    if (key instanceof Uint8Array) {
      if (algorithm !== 'A256KW') throw new RangeError(algorithm)
      const decipher = createDecipheriv('id-aes256-wrap', key, wrapIv)
      return Buffer.concat([decipher.update(value), decipher.final()])
    }
    if (algorithm !== 'RSA-OAEP-256') throw new RangeError(algorithm)
    return privateDecrypt({ key: key.privateKey, ...oaep }, value)
  },
  sign({ key }, algorithm, digest) {
    if (key instanceof Uint8Array || algorithm !== 'PS256' || digest.length !== 32)
      throw new RangeError(algorithm)
    const encoded = encodePss(digest, 256)
    return privateEncrypt({ key: key.privateKey, padding: constants.RSA_NO_PADDING }, encoded)
  },
}

/** EMSA-PSS (RFC 8017 §9.1.1) with SHA-256 and a salt of 32 bytes: the digest is all that Key Vault is sent. */
function encodePss(digest: Uint8Array, length: number): Uint8Array {
  const salt = randomBytes(32)
  const hash = sha256(Buffer.alloc(8), digest, salt)
  const block = Buffer.alloc(length - hash.length - 1)
  block[block.length - salt.length - 1] = 1
  salt.copy(block, block.length - salt.length)
  for (let at = 0, counter = 0; at < block.length; counter++) {
    const suffix = Buffer.alloc(4)
    suffix.writeUInt32BE(counter)
    for (const byte of sha256(hash, suffix)) {
      if (at < block.length) block[at] = (block[at] ?? 0) ^ byte
      at++
    }
  }
  block[0] = (block[0] ?? 0) & 0x7f
  return Buffer.concat([block, hash, Uint8Array.of(0xbc)])
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  return createHash('sha256').update(Buffer.concat(parts)).digest()
}

function refuse(c: Context, status: 400 | 403 | 404, code: string, inner?: string): Response {
  const innererror = inner === undefined ? {} : { innererror: { code: inner } }
  return c.json({ error: { code, message: code, ...innererror } }, status)
}
