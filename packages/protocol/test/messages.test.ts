import { describe, expect, it } from 'vitest'
import {
  attestationPolicyBody,
  attestRequestBody,
  authRequestBody,
  challengeBody,
  type JsonObject,
  type JsonValue,
  jsonObject,
  MessageError,
  parseAttestationPolicyMessage,
  parseAttestRequest,
  parseAuthRequest,
  parseChallenge,
  parseErrorInformation,
  parseJson,
  parseReferenceValueMessage,
  parseResourcePolicyMessage,
  parseSamplePayload,
  parseTokenBody,
  resourcePolicyBody,
  sampleReferenceValueBody,
  stringifyJson,
  tokenBody,
} from '../src/index.ts'

const authText =
  '{"version":"0.4.0","tee":"sample","extra-params":{"supported-hash-algorithms":["sha256","sha384","sha512","sm3"]}}'
const attestText =
  '{"init-data":null,"runtime-data":{"nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","tee-pubkey":{"kty":"EC","crv":"P-256","alg":"ECDH-ES+A256KW","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}},"tee-evidence":{"primary_evidence":{"svn":"1","report_data":"imJERBsbEXGzodVqaT1M4RbB+coa5Vi8X1nUba2lTPSekqNhqyRyxDRlL+1Yh/Ft"},"additional_evidence":""}}'

/** Spec 01 §2.2. */
describe('POST /auth', () => {
  it('is read from the transcript of §2.10', () => {
    expect(parseAuthRequest(parseJson(authText))).toMatchObject({
      tee: 'sample',
      teeName: 'sample',
      supportedHashAlgorithms: ['sha256', 'sha384', 'sha512', 'sm3'],
    })
    expect(stringifyJson(authRequestBody('sample'))).toBe(authText)
  })

  it('may lack extra-params, or have an empty string there, and may have more members', () => {
    expect(parseAuthRequest(parseJson('{"version":"0.4.0","tee":"snp"}'))).toEqual({
      tee: 'snp',
      teeName: 'snp',
      extraParams: '',
    })
    expect(
      parseAuthRequest(parseJson('{"version":"0.4.0+b.1","tee":"azsnpvtpm","extra-params":"","x":1}')),
    ).toEqual({
      tee: 'az-snp-vtpm',
      teeName: 'azsnpvtpm',
      extraParams: '',
    })
  })

  it('keeps the hash algorithms it knows, in any case; what is no list counts as empty', () => {
    const offered = (list: string) =>
      parseAuthRequest(
        parseJson(`{"version":"0.4.0","tee":"se","extra-params":{"supported-hash-algorithms":${list}}}`),
      ).supportedHashAlgorithms
    expect(offered('["SHA512","md5",1]')).toEqual(['sha512'])
    expect(offered('"sha512"')).toEqual([])
    expect(offered('null')).toEqual([])
  })

  it.each(['0.3.0', '0.4.1', '0.4.0-rc1', '1.0.0'])(
    'of version %s is a mismatch, in the words tests look for',
    (version) => {
      const error = messageError(() =>
        parseAuthRequest(jsonObject({ version, tee: 'sample', 'extra-params': '' })),
      )
      expect(error.contractText).toBe(
        `KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is ${version}`,
      )
    },
  )

  it.each(['', '0.4', 'v0.4.0', '00.4.0', '0.4.0 ', '0.4.0-', '0.4.0+'])(
    'of version %j is no version',
    (version) => {
      const error = messageError(() => parseAuthRequest(jsonObject({ version, tee: 'sample' })))
      expect(error.contractText).toBe('failed to parse KBS version')
    },
  )

  it.each([
    ['no object', []],
    ['no version', jsonObject({ tee: 'sample' })],
    ['a number as version', jsonObject({ version: 4, tee: 'sample' })],
    ['an endless version', jsonObject({ version: '0.4.0+'.padEnd(99, 'x'), tee: 'sample' })],
    ['an unknown TEE', jsonObject({ version: '0.4.0', tee: 'sev' })],
    ['no TEE', jsonObject({ version: '0.4.0' })],
    ['huge extra-params', jsonObject({ version: '0.4.0', tee: 'se', 'extra-params': 'x'.repeat(20_000) })],
  ] as [string, JsonValue][])('with %s is malformed', (_name, body) => {
    expect(messageError(() => parseAuthRequest(body)).contractText).toBe('deserialize Request')
  })
})

/** Spec 01 §2.4. */
describe('POST /attest', () => {
  it('is read from the transcript of §2.10 and written as the guest writes it', () => {
    const request = parseAttestRequest(parseJson(attestText))
    expect(request.initData).toBeUndefined()
    expect(request.runtimeData.nonce).toBe('AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=')
    expect(request.runtimeData.teePublicKey).toMatchObject({ kty: 'EC', crv: 'P-256' })
    expect(request.additionalEvidence).toBe('')
    const written = attestRequestBody({
      nonce: request.runtimeData.nonce,
      teePublicKeyJson: request.runtimeData.teePublicKeyJson,
      primaryEvidence: request.primaryEvidence,
      additionalEvidence: '',
    })
    expect(JSON.parse(stringifyJson(written))).toEqual(JSON.parse(attestText))
  })

  it('may carry init-data', () => {
    const initData = jsonObject({ format: 'toml', body: 'x = 1\n' })
    expect(parseAttestRequest(changed({ 'init-data': initData })).initData).toEqual({
      format: 'toml',
      body: 'x = 1\n',
    })
    const without = changed({})
    delete without['init-data']
    expect(parseAttestRequest(without).initData).toBeUndefined()
  })

  it('keeps 64-bit integers of the evidence exact', () => {
    const evidence = parseJson('{"policy":18446744073709551615}')
    const body = changed({
      'tee-evidence': jsonObject({ primary_evidence: evidence, additional_evidence: '' }),
    })
    expect(parseAttestRequest(body).primaryEvidence).toEqual({ policy: 18446744073709551615n })
  })

  it.each([
    ['', 'x'],
    ['init-data', jsonObject({ ...changed({}), 'init-data': '' })],
    ['init-data.format', changed({ 'init-data': jsonObject({ body: '' }) })],
    ['init-data.body', changed({ 'init-data': jsonObject({ format: 'toml', body: 1 }) })],
    ['runtime-data', changed({ 'runtime-data': null })],
    ['runtime-data.nonce', changed({ 'runtime-data': jsonObject({ 'tee-pubkey': '' }) })],
    ['runtime-data.tee-pubkey', changed({ 'runtime-data': jsonObject({ nonce: '' }) })],
    ['runtime-data.tee-pubkey', changed({ 'runtime-data': jsonObject({ nonce: '', 'tee-pubkey': 'x' }) })],
    ['tee-evidence', changed({ 'tee-evidence': 1 })],
    ['tee-evidence.primary_evidence', changed({ 'tee-evidence': jsonObject({ additional_evidence: '' }) })],
    ['tee-evidence.additional_evidence', changed({ 'tee-evidence': jsonObject({ primary_evidence: 1 }) })],
    [
      'tee-evidence.additional_evidence',
      changed({ 'tee-evidence': jsonObject({ primary_evidence: 1, additional_evidence: jsonObject({}) }) }),
    ],
  ] as [string, JsonValue][])('names %s when that is what is wrong', (path, body) => {
    expect(messageError(() => parseAttestRequest(body)).path).toBe(path)
  })

  it('refuses a key to which nothing could be encrypted', () => {
    const body = parseJson(attestText.replace('"x":"MKBC', '"x":"AKBC'))
    expect(messageError(() => parseAttestRequest(body))).toMatchObject({
      path: 'runtime-data.tee-pubkey',
      reason: 'no such key exists',
    })
  })
})

describe('answers', () => {
  it('are a challenge', () => {
    expect(stringifyJson(challengeBody('bm9uY2U='))).toBe('{"nonce":"bm9uY2U=","extra-params":""}')
    expect(parseChallenge(challengeBody('n'))).toEqual({ nonce: 'n', hashAlgorithm: 'sha384' })
    expect(parseChallenge(challengeBody('n', 'sha512'))).toEqual({ nonce: 'n', hashAlgorithm: 'sha512' })
    expect(() => parseChallenge(parseJson('{"nonce":"n"}'))).toThrow(MessageError)
    for (const selected of ['"md5"', '1', 'null']) {
      const body = parseJson(`{"nonce":"n","extra-params":{"selected-hash-algorithm":${selected}}}`)
      expect(() => parseChallenge(body)).toThrow(MessageError)
    }
  })

  it('are a token', () => {
    expect(parseTokenBody(tokenBody('a.b.c'))).toBe('a.b.c')
    expect(() => parseTokenBody(parseJson('{"token":null}'))).toThrow(MessageError)
  })

  it('are error information', () => {
    expect(parseErrorInformation(parseJson('{"type":"t","detail":"d","status":401}'))).toEqual({
      type: 't',
      detail: 'd',
    })
    expect(() => parseErrorInformation(parseJson('{"detail":"d"}'))).toThrow(MessageError)
  })
})

/** Spec 01 §1.2, §1.5. */
describe('administrators send', () => {
  it('attestation policies', () => {
    const body = attestationPolicyBody({ policyId: 'default_cpu', policy: 'package policy\n# é' })
    expect(parseAttestationPolicyMessage(body)).toEqual({
      policyId: 'default_cpu',
      policy: 'package policy\n# é',
    })
    for (const policy_id of ['', '../x', '.x', 'a/b', 'a b']) {
      expect(() => parseAttestationPolicyMessage(jsonObject({ ...body, policy_id }))).toThrow(MessageError)
    }
  })

  it('resource policies, base64url without padding', () => {
    expect(parseResourcePolicyMessage(resourcePolicyBody('package policy'))).toBe('package policy')
    for (const policy of ['cGE=', 'cG+h', '_w', 1, null]) {
      expect(() => parseResourcePolicyMessage(jsonObject({ policy }))).toThrow(MessageError)
    }
  })

  it('reference values', () => {
    const message = parseReferenceValueMessage(
      parseJson('{"version":"0.1.0","type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="}'),
    )
    expect(message.type).toBe('sample')
    expect(parseSamplePayload(message.payload)).toEqual({ svn: ['1'] })
    expect(sampleReferenceValueBody(jsonObject({ svn: ['1'] }))).toMatchObject({
      payload: 'eyJzdm4iOlsiMSJdfQ==',
    })
    expect(parseReferenceValueMessage(parseJson('{"type":"swid","payload":""}')).type).toBe('swid')
    expect(() => parseReferenceValueMessage(jsonObject({ ...message, version: '0.2.0' }))).toThrow(
      MessageError,
    )
    for (const payload of ['eyJzdm4iOlsiMSJdfQ', 'W10=', 'eA==']) {
      expect(() => parseSamplePayload(payload)).toThrow(MessageError)
    }
  })
})

function changed(members: Record<string, JsonValue>): JsonObject {
  return jsonObject({ ...(parseJson(attestText) as JsonObject), ...members })
}

function messageError(run: () => unknown): MessageError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(MessageError)
    return error as MessageError
  }
  throw new Error('nothing was thrown')
}
