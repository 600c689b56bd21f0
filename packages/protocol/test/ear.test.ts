import { describe, expect, it } from 'vitest'
import {
  findTeePublicKey,
  generateTeeKeyPair,
  type JsonValue,
  jsonObject,
  MessageError,
  parseEarClaims,
  parseJson,
  parseTokenClaims,
  resolvePointer,
  stringifyJson,
  TeeKeyError,
  type TrustTier,
  trustTier,
  worstTier,
} from '../src/index.ts'

/** After spec 02 §3.4. */
const ear = `{
  "eat_profile": "tag:github.com,2024:confidential-containers/Trustee",
  "iat": 1760426134,
  "ear.verifier-id": {"developer": "https://confidentialcontainers.org", "build": "attestation-service 0.1.0"},
  "submods": {"cpu0": {
    "ear.status": "affirming",
    "ear.trustworthiness-vector": {"instance-identity": 0, "configuration": 2, "executables": 3, "hardware": 2},
    "ear.appraisal-policy-id": "default",
    "ear.veraison.annotated-evidence": {"sample": {"svn": "1"}},
    "ear.trustee.identifiers": {"validated": {}}
  }},
  "exp": 1760426434,
  "iss": "CoCo-Attestation-Service"
}`

describe('parseEarClaims', () => {
  it('accepts the example of spec 02 §3.4 and gives the same object', () => {
    const claims = parseJson(ear)
    expect(parseEarClaims(claims)).toBe(claims)
    expect(parseEarClaims(claims).submods.cpu0?.['ear.status']).toBe('affirming')
  })

  it.each([
    ['"affirming"', '"good"'],
    ['"configuration": 2', '"configuration": 128'],
    ['"configuration": 2', '"configuration": 2.0'],
    ['"configuration": 2', '"unheard-of": 2'],
    ['"exp": 1760426434,', ''],
    ['"exp": 1760426434', '"exp": "1760426434"'],
    ['"cpu0": {', '"cpu0": [], "cpu1": {'],
  ])('refuses it with %s replaced by %s', (from, to) => {
    expect(ear).toContain(from)
    expect(() => parseEarClaims(parseJson(ear.replace(from, to)))).toThrow(MessageError)
  })

  it('refuses a token without submods', () => {
    expect(() => parseEarClaims({ ...(parseJson(ear) as object), submods: {} })).toThrow(MessageError)
  })
})

describe('parseTokenClaims', () => {
  it('reads what every issuer writes', () => {
    const claims = parseJson('{"exp":2,"iat":1.5,"nbf":0,"iss":"i","aud":"a","x":18446744073709551615}')
    expect(parseTokenClaims(claims)).toEqual({ exp: 2, iat: 1, nbf: 0, iss: 'i', aud: ['a'], all: claims })
    expect(parseTokenClaims(claims).all).toBe(claims)
    expect(parseTokenClaims(parseJson('{"exp":2,"aud":["a","b"]}')).aud).toEqual(['a', 'b'])
  })
  it.each([
    '{}',
    '[]',
    '{"exp":"2"}',
    '{"exp":null}',
    '{"exp":-1}',
    '{"exp":1e400}',
    '{"exp":2,"aud":[1]}',
    '{"exp":2,"iss":null}',
  ])('refuses %s', (text) => {
    expect(() => parseTokenClaims(parseJson(text))).toThrow(MessageError)
  })
})

/** Spec 02 §2.8. */
describe('trust tiers', () => {
  it.each([
    [[-1, 0, 1], 'none'],
    [[2, 31, -2, -32], 'affirming'],
    [[32, 95, -33, -96], 'warning'],
    [[96, 127, -97, -128], 'contraindicated'],
    [[128, -129, 258, 0.5, Number.NaN], undefined],
  ] as [number[], TrustTier | undefined][])('of %j are %s', (values, tier) => {
    for (const value of values) expect(trustTier(value)).toBe(tier)
  })
  it('give the worst one as status', () => {
    expect(worstTier({})).toBe('none')
    expect(worstTier({ hardware: 0, executables: 3 })).toBe('affirming')
    expect(worstTier({ hardware: 97, executables: 33 })).toBe('contraindicated')
    expect(worstTier({ hardware: 33, executables: 3 })).toBe('warning')
    expect(worstTier({ hardware: 258 })).toBeUndefined()
  })
})

/** Spec 01 §4.3. */
describe('findTeePublicKey', () => {
  const key = generateTeeKeyPair().publicKey.jwk
  const other = generateTeeKeyPair().publicKey.jwk
  const at = (path: string[], leaf: JsonValue): JsonValue =>
    path.reduceRight<JsonValue>((inner, name) => jsonObject({ [name]: inner }), leaf)

  it.each([
    [['tdx', 'attester_runtime_data', 'tee-pubkey']],
    [['tdx', 'attester_user_data', 'tee-pubkey']],
    [['sgx', 'attester_runtime_data', 'tee-pubkey']],
    [['customized_claims', 'runtime_data', 'tee-pubkey']],
    [['submods', 'cpu0', 'ear.veraison.annotated-evidence', 'runtime_data_claims', 'tee-pubkey']],
    [['tee-pubkey']],
  ])('finds it at %j', (path) => {
    expect(findTeePublicKey(at(path, key))?.jwk).toEqual(key)
    expect(findTeePublicKey(JSON.parse(stringifyJson(at(path, key))))?.jwk).toEqual(key)
  })

  it("tries the operator's pointers first, in order", () => {
    const claims = jsonObject({ 'a/b': jsonObject({ '~c': [key] }), 'tee-pubkey': other })
    expect(findTeePublicKey(claims, ['/nowhere', '/a~1b/~0c/0'])?.jwk).toEqual(key)
    expect(findTeePublicKey(claims)?.jwk).toEqual(other)
  })

  it('does not search on when what exists is malformed', () => {
    const claims = jsonObject({ tdx: at(['attester_runtime_data', 'tee-pubkey'], null), 'tee-pubkey': key })
    expect(() => findTeePublicKey(claims)).toThrow(TeeKeyError)
  })

  it('finds nothing where nothing is, not even on prototypes', () => {
    expect(findTeePublicKey(jsonObject({}))).toBeUndefined()
    expect(findTeePublicKey('text', ['/length'])).toBeUndefined()
    expect(findTeePublicKey({}, ['/constructor', '/__proto__'])).toBeUndefined()
    expect(findTeePublicKey([], ['/length', '/-', '/00'])).toBeUndefined()
  })
})

/** RFC 6901 §5. */
describe('resolvePointer', () => {
  const document = parseJson(
    String.raw`{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}`,
  )
  it.each([
    ['/foo/0', 'bar'],
    ['/', 0],
    ['/a~1b', 1],
    ['/c%d', 2],
    ['/e^f', 3],
    ['/g|h', 4],
    ['/i\\j', 5],
    ['/k"l', 6],
    ['/ ', 7],
    ['/m~0n', 8],
    ['/foo/2', undefined],
    ['/foo/bar', undefined],
    ['/foo/0/x', undefined],
  ])('finds what is at %j', (pointer, value) => {
    expect(resolvePointer(document, pointer)).toBe(value)
  })
  it('gives the document for the empty pointer and refuses what is no pointer', () => {
    expect(resolvePointer(document, '')).toBe(document)
    expect(() => resolvePointer(document, 'foo')).toThrow(TypeError)
    expect(() => resolvePointer(document, '/~2')).toThrow(TypeError)
  })
})
