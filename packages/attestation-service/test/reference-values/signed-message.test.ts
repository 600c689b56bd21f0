import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { type JsonObject, jsonObject } from '@passport-kbs/protocol'
import { openStorage } from '@passport-kbs/storage'
import { describe, expect, it } from 'vitest'
import { ReferenceValueError } from '../../src/index.ts'
import { dssePayloadType } from '../../src/reference-values/dsse.ts'
import { readTrustedKey } from '../../src/reference-values/trusted-keys.ts'
import { createReferenceValues } from '../../src/reference-values.ts'
import { cbor, map, tagged } from './cbor-writer.ts'

const now = new Date('2026-06-01T00:00:00Z')
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const ed25519 = generateKeyPairSync('ed25519')
const keys = [p256, p384, ed25519].map(({ publicKey }) => publicKey)
const stranger = generateKeyPairSync('ed25519')

const base64 = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('base64')
const message = (type: string, payload: Uint8Array | string, more: JsonObject = jsonObject({})) =>
  jsonObject({ version: '0.1.0', type, payload: base64(payload), ...more })
const sample = (more?: JsonObject) => message('sample', '{"a":1}', more)

/** The envelope as the DSSE protocol describes it, in a message of type `dsse`. */
function dsse(
  inner: JsonObject | string,
  key: KeyObject,
  { type = dssePayloadType, hash = 'sha256' as string | null, alter = (body: string) => body } = {},
) {
  const body = typeof inner === 'string' ? inner : JSON.stringify(inner)
  const signed = Buffer.from(`DSSEv1 ${type.length} ${type} ${Buffer.byteLength(body)} ${body}`)
  const sig = base64(sign(key.asymmetricKeyType === 'ed25519' ? null : hash, signed, key))
  const envelope = { payloadType: type, payload: base64(alter(body)), signatures: [{ keyid: 'x', sig }] }
  return message('dsse', JSON.stringify(envelope))
}

async function open(requireSigned: boolean, trusted: readonly KeyObject[] = keys) {
  const storage = await openStorage({ type: 'Memory' })
  return createReferenceValues(storage.namespace('reference_value'), { keys: trusted, requireSigned })
}

describe('a message in a DSSE envelope', () => {
  it.each([
    ['P-256', p256.privateKey, 'sha256'],
    ['P-384', p384.privateKey, 'sha384'],
    ['Ed25519', ed25519.privateKey, null],
  ])('is registered when %s has signed it', async (_, key, hash) => {
    const values = await open(true)
    expect(await values.register(dsse(sample(), key, { hash }), now)).toEqual(['a'])
    expect(await values.query('a', now)).toBe(1)
  })

  it('has the expiration that was signed', async () => {
    const values = await open(true)
    const inner = sample(jsonObject({ expiration: '2026-06-02T00:00:00Z' }))
    await values.register(dsse(inner, ed25519.privateKey), now)
    expect(await values.query('a', new Date('2026-06-01T23:59:59Z'))).toBe(1)
    expect(await values.query('a', new Date('2026-06-02T00:00:00Z'))).toBeUndefined()
  })

  it('may be a SWID tag or a CoRIM', async () => {
    const corim = message('corim', cbor(tagged(501, map([1, []]))))
    await expect((await open(true)).register(dsse(corim, ed25519.privateKey), now)).rejects.toThrow(
      /no reference value/,
    )
  })

  it.each([
    ['a stranger has signed it', dsse(sample(), stranger.privateKey), /not signed by a trusted key/],
    ['another hash was signed', dsse(sample(), p256.privateKey, { hash: 'sha512' }), /not signed by/],
    [
      'it was changed',
      dsse(sample(), ed25519.privateKey, { alter: (body) => body.replace('0.1.0', '0.1.1') }),
      /not signed by/,
    ],
    ['it is for something else', dsse(sample(), ed25519.privateKey, { type: 'text/plain' }), /payloadType/],
    [
      'it is in another envelope',
      dsse(dsse(sample(), ed25519.privateKey), ed25519.privateKey),
      /inside another/,
    ],
    ['it holds no message', dsse('[]', ed25519.privateKey), /reference value message/],
    ['it is not JSON', message('dsse', '{'), /malformed/],
    [
      'it has no signatures',
      message('dsse', JSON.stringify({ payloadType: 'x', payload: '', signatures: [] })),
      /malformed/,
    ],
  ])('is refused when %s', async (_, envelope, reason) => {
    // also where signatures are not asked for: one that is there must hold
    for (const requireSigned of [true, false]) {
      const registration = (await open(requireSigned)).register(envelope, now)
      await expect(registration).rejects.toThrow(ReferenceValueError)
      await expect(registration).rejects.toThrow(reason)
    }
  })

  it('is refused where nobody is trusted', async () => {
    await expect((await open(false, [])).register(dsse(sample(), ed25519.privateKey), now)).rejects.toThrow(
      /not signed by a trusted key/,
    )
  })
})

describe('where reference values have to be signed', () => {
  it.each([
    ['sample', sample()],
    ['corim', message('corim', cbor(tagged(501, map([1, []]))))],
  ])('an unsigned %s is refused', async (_, unsigned) => {
    await expect((await open(true)).register(unsigned, now)).rejects.toThrow(/must be signed/)
  })

  it('a CoRIM with a signature of its own is taken', async () => {
    const digests = map([2, [[1, new Uint8Array([1])]]])
    const comid = cbor(map([4, map([0, [[map(), [map([0, 'k'], [1, digests])]]]])]))
    const validity = map([1, tagged(1, Date.parse('2026-06-03T00:00:00Z') / 1000)])
    const content = cbor(tagged(501, map([1, [tagged(506, comid)]], [4, validity])))
    const header = cbor(map([1, -8]))
    const signature = sign(null, cbor(['Signature1', header, new Uint8Array(0), content]), ed25519.privateKey)
    const signed = cbor(tagged(18, [header, map(), content, new Uint8Array(signature)]))
    const values = await open(true)
    expect(await values.register(message('corim', signed), now)).toEqual(['k/digests'])
    // its own validity ends before the usual twelve months
    expect(await values.query('k/digests', new Date('2026-06-02T23:59:59Z'))).toEqual(['01'])
    expect(await values.query('k/digests', new Date('2026-06-03T00:00:00Z'))).toBeUndefined()
    await expect(values.register(message('corim', signed), new Date('2026-07-01T00:00:00Z'))).rejects.toThrow(
      /not in the future/,
    )
  })
})

describe('a trusted key', () => {
  const pem = (key: KeyObject) =>
    key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }).toString()

  it('is P-256, P-384 or Ed25519', () => {
    for (const key of keys) expect(readTrustedKey(pem(key)).equals(key)).toBe(true)
  })

  it.each([
    ['RSA', pem(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey), /kinds/],
    ['P-521', pem(generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey), /kinds/],
    ['a private key', pem(ed25519.privateKey), /private/],
    ['no PEM', 'key', /cannot be read/],
  ])('is not %s', (_, text, message_) => {
    expect(() => readTrustedKey(text)).toThrow(message_)
  })
})
