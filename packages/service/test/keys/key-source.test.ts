import { writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createKeySource,
  DocumentUnavailable,
  type KeySource,
  type KeySourceOptions,
  keyFromJwk,
  keyFromPem,
} from '../../src/index.ts'
import { recordingLogger } from '../fixtures.ts'
import { type DocumentServer, startDocumentServer } from '../https-server.ts'
import { keySetOf, makeSigner, temporaryFile } from '../tokens.ts'

let server: DocumentServer
let clock = 0
const sources: KeySource[] = []

beforeEach(async () => {
  server = await startDocumentServer()
  clock = 0
})
afterEach(async () => {
  for (const source of sources.splice(0)) source.close()
  await server.close()
})

const { logger } = recordingLogger()

async function open(options: Partial<KeySourceOptions> = {}): Promise<KeySource> {
  const source = await createKeySource({
    source: `${server.url}/jwks`,
    format: 'jwk-set',
    profile: 'production',
    ca: server.caPem,
    refreshSeconds: 3_600,
    cooldownSeconds: 30,
    maxAgeSeconds: 86_400,
    logger,
    now: () => clock,
    ...options,
  })
  sources.push(source)
  return source
}

describe('an https JWK set', () => {
  it('is read from the address itself', async () => {
    const signer = await makeSigner()
    server.documents.set('/jwks', keySetOf(signer))
    const source = await open()
    expect(await source.find({ kid: signer.kid })).toHaveLength(1)
    expect(await source.find({ thumbprint: signer.kid })).toHaveLength(1)
    expect(server.requests).toEqual(['/jwks'])
  })

  it('is read through OpenID discovery when the address is none', async () => {
    const signer = await makeSigner()
    server.documents.set(
      '/issuer/.well-known/openid-configuration',
      JSON.stringify({ jwks_uri: `${server.url}/keys` }),
    )
    server.documents.set('/keys', keySetOf(signer))
    for (const address of [`${server.url}/issuer`, `${server.url}/issuer/`]) {
      expect((await open({ source: address })).keys()).toHaveLength(1)
    }
  })

  it('does not follow discovery to plain http, or redirects to anywhere', async () => {
    const signer = await makeSigner()
    server.documents.set('/jwks', keySetOf(signer))
    server.documents.set('/issuer/.well-known/openid-configuration', '{"jwks_uri":"http://127.0.0.1/keys"}')
    server.documents.set('/moved', 302)
    await expect((await open({ source: `${server.url}/issuer` })).ping()).rejects.toThrow(/no keys/)
    await expect((await open({ source: `${server.url}/moved` })).ping()).rejects.toThrow(/no keys/)
  })

  it('is not read from a server whose certificate is not the configured CA’s', async () => {
    server.documents.set('/jwks', keySetOf(await makeSigner()))
    await expect((await open({ ca: undefined })).ping()).rejects.toThrow(/no keys/)
  })

  it('is read again for an unknown key, which is how keys rotate', async () => {
    const [old, fresh] = [await makeSigner(), await makeSigner()]
    server.documents.set('/jwks', keySetOf(old))
    const source = await open()
    server.documents.set('/jwks', keySetOf(old, fresh))
    clock += 31_000
    expect(await source.find({ kid: fresh.kid })).toHaveLength(1)
    expect(await source.find({ kid: old.kid })).toHaveLength(1)
    server.documents.set('/jwks', keySetOf(fresh))
    await source.refresh()
    expect(await source.find({ kid: old.kid })).toEqual([])
  })

  it('is read at most once in the cooldown, whatever strangers ask for', async () => {
    server.documents.set('/jwks', keySetOf(await makeSigner()))
    const source = await open()
    for (let index = 0; index < 50; index++) await source.find({ kid: `stranger ${index}` })
    expect(server.requests).toHaveLength(1)
    clock += 31_000
    await Promise.all(Array.from({ length: 50 }, (_, index) => source.find({ kid: `stranger ${index}` })))
    expect(server.requests).toHaveLength(2)
  })

  it('keeps the last good keys through an outage, up to the maximum age', async () => {
    const signer = await makeSigner()
    server.documents.set('/jwks', keySetOf(signer))
    const source = await open({ maxAgeSeconds: 600 })
    for (const broken of [500, '{"keys":[]}', 'no json', '{"keys":[{"kty":"oct","k":"AA"}]}']) {
      server.documents.set('/jwks', broken)
      await expect(source.refresh()).rejects.toThrow()
      expect(source.keys()).toHaveLength(1)
    }
    await source.ping()
    clock += 601_000
    expect(source.keys()).toEqual([])
    await expect(source.ping()).rejects.toThrow(/no keys/)
  })

  it('recovers by itself when the server comes late', async () => {
    const signer = await makeSigner()
    const source = await open({ refreshSeconds: 0.05 })
    await expect(source.ping()).rejects.toThrow()
    server.documents.set('/jwks', keySetOf(signer))
    await expect.poll(() => source.keys().length, { timeout: 3_000 }).toBe(1)
  })

  it('is asked for every other second until it has been had, however long the refresh interval', async () => {
    const signer = await makeSigner()
    const source = await open({ refreshSeconds: 86_400 })
    await expect(source.ping()).rejects.toThrow()
    server.documents.set('/jwks', keySetOf(signer))
    await expect.poll(() => source.keys().length, { timeout: 5_000 }).toBe(1)
    const { length } = server.requests
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(server.requests).toHaveLength(length)
  }, 15_000)

  it('does not hold up the start when its server is silent', async () => {
    const signer = await makeSigner()
    const { promise: answer, resolve } = Promise.withResolvers<Buffer>()
    const source = await open({ fetchDocument: () => answer })
    await expect(source.ping()).rejects.toThrow(/no keys/)
    resolve(Buffer.from(keySetOf(signer)))
    await expect.poll(() => source.keys().length).toBe(1)
  })

  it('is not looked for by discovery at a server that does not answer', async () => {
    const asked: string[] = []
    const fetchDocument = (url: URL) => {
      asked.push(url.pathname)
      return Promise.reject(new DocumentUnavailable('no answer in time', { answered: false }))
    }
    await expect((await open({ fetchDocument })).ping()).rejects.toThrow(/no keys/)
    expect(asked).toEqual(['/jwks'])
  })

  it('is not read beyond 1 MiB', async () => {
    server.documents.set('/jwks', `{"keys":[],"x":"${'x'.repeat(1_100_000)}"}`)
    await expect((await open()).refresh()).rejects.toThrow(/larger than/)
  })

  it('leaves out keys that cannot be used, and takes the rest', async () => {
    const [good, encryption] = [await makeSigner(), await makeSigner()]
    const keys = [
      { ...encryption.jwk, use: 'enc' },
      { kty: 'oct', k: 'AAAA', kid: 'h', alg: 'HS256' },
      { kty: 'EC', crv: 'secp256k1', x: 'AA', y: 'AA' },
      good.jwk,
    ]
    server.documents.set('/jwks', JSON.stringify({ keys }))
    expect((await open()).keys().map((key) => key.kid)).toEqual([good.kid])
  })
})

describe('a source', () => {
  it('may be a path or file://, and is read again when it changes', async () => {
    const [old, fresh] = [await makeSigner(), await makeSigner()]
    const file = await temporaryFile('jwks.json', keySetOf(old))
    const byPath = await open({ source: file })
    const byUrl = await open({ source: `file://${file}` })
    await writeFile(file, keySetOf(fresh))
    clock += 31_000
    for (const source of [byPath, byUrl]) expect(await source.find({ kid: fresh.kid })).toHaveLength(1)
  })

  it('may be a PEM public key', async () => {
    const signer = await makeSigner('EdDSA')
    const source = await open({ source: await temporaryFile('key.pem', signer.publicPem), format: 'pem' })
    expect(source.keys().map((key) => key.thumbprint)).toEqual([signer.kid])
  })

  it.each(['http://10.0.0.1/jwks', 'ftp://x/jwks', 'http://127.0.0.1/jwks'])(
    'may not be %s',
    async (source) => {
      await expect(open({ source })).rejects.toThrow(/use https/)
    },
  )

  it('may be several PEM keys in one file, of which none may be unusable', async () => {
    const [old, fresh] = [await makeSigner(), await makeSigner('EdDSA')]
    const both = await temporaryFile('keys.pem', `the former:\n${old.publicPem}\n${fresh.publicPem}`)
    const source = await open({ source: both, format: 'pem' })
    expect(source.keys().map(({ thumbprint }) => thumbprint)).toEqual([old.kid, fresh.kid])
    const half = await temporaryFile('keys.pem', `${old.publicPem}${fresh.publicPem.replace('MC', 'MD')}`)
    await expect(open({ source: half, format: 'pem' })).rejects.toThrow(/cannot be read/)
  })

  it('keeps its PEM keys while the file is half written', async () => {
    const [old, fresh] = [await makeSigner(), await makeSigner('EdDSA')]
    const file = await temporaryFile('keys.pem', old.publicPem)
    const source = await open({ source: file, format: 'pem' })
    const text = `${fresh.publicPem}${old.publicPem}`
    for (const end of [text.length - 10, text.length - 40, fresh.publicPem.length + 30]) {
      await writeFile(file, text.slice(0, end))
      await expect(source.refresh(), `${end} characters`).rejects.toThrow(/cannot be read/)
    }
    expect(source.keys().map(({ thumbprint }) => thumbprint)).toEqual([old.kid])
    await writeFile(file, text)
    await source.refresh()
    expect(source.keys()).toHaveLength(2)
  })

  it('is not asked under the CAs of the system while the file with its own CA is empty', async () => {
    const file = await temporaryFile('ca.pem', '')
    const asked: unknown[] = []
    const source = await open({
      ca: undefined,
      caFile: file,
      fetchDocument: async (_, { ca }) => {
        asked.push(ca)
        return Buffer.from(keySetOf(await makeSigner()))
      },
    })
    await expect(source.refresh()).rejects.toThrow(/CA is empty/)
    expect(asked).toEqual([])
    await writeFile(file, server.caPem)
    await source.refresh()
    expect(asked).toEqual([server.caPem])
  })

  it('stops the start when its file is missing or holds no keys', async () => {
    await expect(open({ source: '/nowhere/jwks.json' })).rejects.toThrow(/nowhere/)
    await expect(open({ source: await temporaryFile('jwks.json', '{"keys":[]}') })).rejects.toThrow(
      /no JWK set/,
    )
  })
})

describe('a verification key', () => {
  it('has exactly one algorithm: its alg, that of its curve, or RS256', async () => {
    const without = async (algorithm: string) => {
      const { alg: _, ...jwk } = (await makeSigner(algorithm)).jwk
      return (await keyFromJwk(jwk as never)).algorithms
    }
    expect(await without('ES256')).toEqual(['ES256'])
    expect(await without('ES384')).toEqual(['ES384'])
    expect(await without('RS256')).toEqual(['RS256'])
    expect(await without('EdDSA')).toEqual(['EdDSA', 'Ed25519'])
    expect((await keyFromJwk((await makeSigner('PS384')).jwk as never)).algorithms).toEqual(['PS384'])
  })

  it('is refused when its alg does not fit, when it is weak, or not on its curve', async () => {
    const { jwk } = await makeSigner('ES256')
    await expect(keyFromJwk({ ...jwk, alg: 'RS256' } as never)).rejects.toThrow(/does not fit/)
    await expect(keyFromJwk({ ...jwk, alg: 'HS256' } as never)).rejects.toThrow(/does not fit/)
    await expect(keyFromJwk({ ...jwk, x: jwk.y } as never)).rejects.toThrow(/cannot be read/)
    const { generateKeyPairSync } = await import('node:crypto')
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    await expect(keyFromJwk(weak.export({ format: 'jwk' }) as never)).rejects.toThrow(/below 2048/)
    await expect(keyFromJwk('x')).rejects.toThrow(/no object/)
  })

  it('is not taken from a private PEM', async () => {
    const { privateKey } = await makeSigner()
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    await expect(keyFromPem(pem)).rejects.toThrow(/private key/)
  })
})
