/** What guests and administrators send: JSON, requests, keys, and the answers that a guest reads. */
import { deepStrictEqual } from 'node:assert'
import {
  attestRequestBody,
  authRequestBody,
  canonicalJson,
  challengeBody,
  findTeePublicKey,
  generateTeeKeyPair,
  JsonSyntaxError,
  type JsonValue,
  JweError,
  jsonObject,
  MessageError,
  openWithTeeKey,
  parseAttestationPolicyMessage,
  parseAttestRequest,
  parseAuthRequest,
  parseChallenge,
  parseErrorInformation,
  parseJson,
  parseJweResponse,
  parseReferenceValueMessage,
  parseResourcePolicyMessage,
  parseSamplePayload,
  parseTeePublicKey,
  parseTokenBody,
  sampleReferenceValueBody,
  sealForTee,
  stringifyJson,
  TeeKeyError,
  teeKeyKinds,
  teeKeyThumbprint,
} from '@passport-kbs/protocol'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, readWithAll } from './seeds.ts'

const everyKind = { allowRsa15: true, allowMlKem: true }
const keys = teeKeyKinds.map((kind) => generateTeeKeyPair(kind))
const jwks = keys.map(({ publicKey }) => publicKey.jwk)

const jsonTexts = [
  '{"a":[1,-0,1.50,1e5,12345678901234567890,true,false,null,"\\u00e9\\ud83d\\ude00\\n",{"":{}}],"b":0.1}',
  '[[[[[[]]]]]]',
  '"text"',
  '-1.25E-3',
]

/** Integers beyond a double have no canonical form: that is a `TypeError`, as the contract of `canonicalJson` says. */
export const json: FuzzTarget = {
  name: 'json',
  rejections: [JsonSyntaxError],
  seeds: () => jsonSeeds(jsonTexts),
  run(input) {
    const value = parseJson(input)
    deepStrictEqual(parseJson(stringifyJson(value)), value)
    readWithAll([TypeError], () => canonicalJson(value))
  },
}

const messageReaders: readonly ((body: JsonValue) => unknown)[] = [
  parseAuthRequest,
  (body) => parseAttestRequest(body, everyKind),
  parseChallenge,
  parseTokenBody,
  parseErrorInformation,
  parseAttestationPolicyMessage,
  parseResourcePolicyMessage,
  parseReferenceValueMessage,
]

export const messages: FuzzTarget = {
  name: 'messages',
  rejections: [JsonSyntaxError, MessageError],
  seeds: () =>
    jsonSeeds([
      stringifyJson(authRequestBody('snp')),
      ...jwks.map((jwk) =>
        stringifyJson(
          attestRequestBody({
            initData: { format: 'toml', body: 'dmVyc2lvbiA9ICIwLjEuMCI' },
            nonce: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8',
            teePublicKeyJson: jsonObject({ ...jwk }),
            primaryEvidence: jsonObject({ svn: '1' }),
            additionalEvidence: '{"sampledevice":"{}"}',
          }),
        ),
      ),
      stringifyJson(challengeBody('bm9uY2U=', 'sha384')),
      { token: 'a.b.c' },
      { type: 'https://github.com/confidential-containers/kbs/errors/x', detail: 'text' },
      { policy_id: 'default', type: 'rego', policy: 'cGFja2FnZSBwb2xpY3k' },
      { policy: 'cGFja2FnZSBwb2xpY3k' },
      stringifyJson(sampleReferenceValueBody(jsonObject({ svn: ['1'] }))),
    ]),
  run(input) {
    const body = parseJson(input)
    const payload = Buffer.from(input).toString()
    readWithAll([MessageError], ...messageReaders.map((read) => () => read(body)), () =>
      parseSamplePayload(payload),
    )
  },
}

export const teeKey: FuzzTarget = {
  name: 'tee-key',
  rejections: [JsonSyntaxError, TeeKeyError],
  seeds: () => jsonSeeds(jwks),
  run(input) {
    const value = parseJson(input)
    parseTeePublicKey(value)
    const key = parseTeePublicKey(value, everyKind)
    teeKeyThumbprint(key)
    sealForTee(key, Buffer.from('secret'))
    findTeePublicKey(jsonObject({ 'tee-pubkey': value }))
  },
}

export const jweResponse: FuzzTarget = {
  name: 'jwe-response',
  rejections: [JsonSyntaxError, JweError, MessageError],
  seeds: () => jsonSeeds(keys.map(({ publicKey }) => sealForTee(publicKey, Buffer.from('a secret')))),
  run(input) {
    const response = parseJweResponse(parseJson(input))
    readWithAll([JweError], ...keys.map((key) => () => openWithTeeKey(key, response)))
  },
}
