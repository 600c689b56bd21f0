import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AttestationService, EvaluationItem } from '@passport-kbs/attestation-service'
import {
  createIntelTrustAuthority,
  type IntelTrustAuthorityOptions,
} from '@passport-kbs/attestation-service/intel-trust-authority'
import { initDataDigest, isJsonObject, jsonObject, parseJson, resolvePointer } from '@passport-kbs/protocol'
import { createLogger, createPassportVerifier, PassportRejected } from '@passport-kbs/service'
import {
  type FakeIntelTrustAuthority,
  makeSigningAuthorities,
  makeSigningKey,
  startFakeIntelTrustAuthority,
} from '@passport-kbs/testing/intel-trust-authority'
import { makeServerIdentity } from '@passport-kbs/testing/tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { azureGuest, guest, guestWithGpus, specialTd, teePublicKeyJson } from './intel-guests.ts'

const policyId = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
const otherPolicyId = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'

let folder: string
let intel: FakeIntelTrustAuthority
const open: AttestationService[] = []
const notices: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'intel-trust-authority-'))
  intel = await startFakeIntelTrustAuthority()
  await writeFile(join(folder, 'ca.pem'), intel.ca)
})
afterAll(async () => {
  await intel?.close()
  await rm(folder, { recursive: true, force: true })
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((service) => service.close()))
  intel.fail(undefined)
  intel.tamper(undefined)
  intel.matchingPolicies.clear()
  intel.calls.length = 0
  notices.length = 0
})

async function openTokens() {
  return await createPassportVerifier(
    {
      trustedCertsPaths: [],
      trustedJwkSets: [],
      extraTeekeyPaths: [],
      insecureHeaderJwk: false,
      issuers: [
        {
          issuer: 'Intel Trust Authority',
          jwkSets: [`${intel.url}/certs`],
          certs: [],
          ca: join(folder, 'ca.pem'),
        },
      ],
      jwksRefreshSeconds: 300,
      jwksCooldownSeconds: 1,
      jwksMaxAgeSeconds: 600,
      clockSkewSeconds: 60,
    },
    { logger: createLogger({ program: 'test', env: { RUST_LOG: 'off' } }), profile: 'production' },
  )
}

async function service(options: Partial<IntelTrustAuthorityOptions> = {}, apiKey = intel.apiKey) {
  const apiKeyFile = join(folder, `key-${open.length}`)
  await writeFile(apiKeyFile, `${apiKey}\n`)
  const opened = await createIntelTrustAuthority({
    baseUrl: `${intel.url}/`,
    apiKeyFile,
    ca: intel.ca,
    tokens: options.tokens ?? (await openTokens()),
    policyIds: [],
    allowUnmatchedPolicy: false,
    allowDebug: false,
    totalTimeoutMs: 3_000,
    callTimeoutMs: 400,
    backoffMs: 10,
    onNotice: (notice) => notices.push(notice),
    ...options,
  })
  open.push(opened)
  return opened
}

const context = { now: new Date(), requestId: 'test' }

async function evaluate(items: readonly EvaluationItem[], options: Partial<IntelTrustAuthorityOptions> = {}) {
  return await (await service(options)).evaluate(items, context)
}

const refused = (detail: RegExp) =>
  expect.objectContaining({ name: 'AttestationUnavailable', message: expect.stringMatching(detail) })

function claimsOf(token: string) {
  const claims = parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url'))
  if (!isJsonObject(claims)) throw new Error('no claims')
  return claims
}

describe('the attest call (spec 02 §8.3)', () => {
  it('sends quote, event log and runtime data of a TD, and hands out Intel’s own token', async () => {
    const item = guest('tdx')
    const evaluation = await evaluate([item])
    const [call] = intel.calls
    expect(call?.path).toBe('/appraisal/v2/attest')
    expect(call?.headers).toMatchObject({
      'x-api-key': intel.apiKey,
      'content-type': 'application/json',
      accept: 'application/json',
    })
    expect(Object.keys(call?.body ?? {}).sort()).toEqual(['policy_ids', 'policy_must_match', 'tdx'])
    expect(call?.body).toMatchObject({ policy_ids: [], policy_must_match: false })
    const evidence = item.evidence as { quote: string; cc_eventlog: string }
    expect(resolvePointer(call?.body ?? null, '/tdx')).toMatchObject({
      quote: evidence.quote,
      event_log: evidence.cc_eventlog,
    })
    expect(claimsOf(evaluation.token).iss).toBe('Intel Trust Authority')
    expect(evaluation.submods).toEqual([
      { name: 'cpu0', tee: 'tdx', status: 'none', policyId: '', policySha384: '' },
    ])
    expect(evaluation.jti).toBe(claimsOf(evaluation.token).jti)
  })

  it.each([
    ['tdx', '/tdx/attester_runtime_data/tee-pubkey'],
    ['sgx', '/sgx/attester_runtime_data/tee-pubkey'],
    ['az-tdx-vtpm', '/tdx/attester_user_data/tee-pubkey'],
  ] as const)('has the key of a %s guest at %s', async (tee, pointer) => {
    const { token } = await evaluate([guest(tee)])
    expect(resolvePointer(claimsOf(token), pointer)).toEqual(teePublicKeyJson)
  })

  it('sends Azure evidence, with the variable data as runtime data, to a path of its own', async () => {
    await evaluate([azureGuest(2)])
    const [call] = intel.calls
    expect(call?.path).toBe('/appraisal/v2/attest/azure')
    const member = resolvePointer(call?.body ?? null, '/tdx') as Record<string, string>
    expect(Object.keys(member).sort()).toEqual(['quote', 'runtime_data', 'user_data'])
    expect(Buffer.from(member.runtime_data ?? '', 'base64').toString()).toContain('HCLAkPub')
    expect(Buffer.from(member.user_data ?? '', 'base64').toString()).toContain('tee-pubkey')
  })

  it.each([0, 1] as const)(
    'reads Azure evidence of version %d as the verifiers do (W-18b)',
    async (version) => {
      // these formats name no user-data, so Intel has nothing to bind the guest's key to
      await expect(evaluate([azureGuest(version)])).rejects.toMatchObject({ name: 'EvidenceRejected' })
      expect(intel.calls).toHaveLength(1)
    },
  )

  it('sends GPUs with the nonce that the guest gave them', async () => {
    const evaluation = await evaluate(guestWithGpus(['HOPPER', 'HOPPER']))
    expect(resolvePointer(intel.calls[0]?.body ?? null, '/nvgpu')).toMatchObject({ arch: 'HOPPER' })
    expect(evaluation.submods.map(({ name }) => name)).toEqual(['cpu0', 'gpu0'])
  })

  it('refuses GPUs that Intel does not verify, rather than leaving them out', async () => {
    for (const architectures of [['AMPERE'], ['HOPPER', 'AMPERE'], ['HOPPER', 'BLACKWELL'], []])
      await expect(evaluate(guestWithGpus(architectures))).rejects.toMatchObject({
        code: 'EVIDENCE_MALFORMED',
      })
    expect(intel.calls).toEqual([])
  })

  it('refuses a token that has no word on the GPUs, or a bad one', async () => {
    intel.tamper(({ claims }) => Reflect.deleteProperty(claims, 'nvgpu'))
    await expect(evaluate(guestWithGpus(['HOPPER']))).rejects.toEqual(refused(/no claims "nvgpu"/))
    intel.tamper(({ claims }) => {
      claims.nvgpu = jsonObject({ 'x-nvidia-overall-att-result': false })
    })
    await expect(evaluate(guestWithGpus(['HOPPER']))).rejects.toMatchObject({ code: 'EVIDENCE_MALFORMED' })
  })

  it.each(['snp', 'sample', 'csv'] as const)('refuses evidence of %s without a call', async (tee) => {
    await expect(evaluate([{ ...guest('tdx'), tee }])).rejects.toMatchObject({ code: 'TEE_NOT_ENABLED' })
    await expect(evaluate([guest('tdx'), { ...guest('tdx'), tee }])).rejects.toMatchObject({
      code: 'TEE_NOT_ENABLED',
    })
    expect(intel.calls).toEqual([])
  })

  it('refuses malformed evidence without a call', async () => {
    for (const evidence of [null, 7, 'no JSON', jsonObject({}), jsonObject({ quote: '~' })])
      await expect(evaluate([{ ...guest('tdx'), evidence }])).rejects.toMatchObject({
        code: 'EVIDENCE_MALFORMED',
      })
    expect(intel.calls).toEqual([])
  })
})

describe('policies', () => {
  it('are demanded by id, and count as affirmed when they match', async () => {
    intel.matchingPolicies.add(policyId)
    const { submods } = await evaluate([guest('tdx')], { policyIds: [policyId] })
    expect(intel.calls[0]?.body).toMatchObject({ policy_ids: [policyId], policy_must_match: true })
    expect(submods[0]).toMatchObject({ status: 'affirming', policyId })
  })

  it('make Intel refuse evidence that does not match', async () => {
    await expect(evaluate([guest('tdx')], { policyIds: [policyId] })).rejects.toMatchObject({
      name: 'EvidenceRejected',
      detail: expect.stringMatching(
        /status 400: Policies do not match \(request-id .*trace-id virtual-trace/,
      ),
    })
  })

  it('may be unmatched where the operator says so', async () => {
    intel.matchingPolicies.add(policyId)
    const { submods } = await evaluate([guest('tdx')], {
      policyIds: [policyId, otherPolicyId],
      allowUnmatchedPolicy: true,
    })
    expect(intel.calls[0]?.body).toMatchObject({ policy_must_match: false })
    expect(submods[0]).toMatchObject({ policyId })
  })

  it('are looked at in the token as well (W-18)', async () => {
    intel.matchingPolicies.add(policyId)
    intel.tamper(({ claims }) => {
      claims.policy_ids_matched = []
    })
    const evaluation = evaluate([guest('tdx')], { policyIds: [policyId] })
    await expect(evaluation).rejects.toMatchObject({ name: 'AttestationPolicyError' })
    intel.tamper(({ claims }) => {
      claims.policy_ids_unmatched = [jsonObject({ id: otherPolicyId })]
    })
    const other = evaluate([guest('tdx')], { policyIds: [policyId] })
    await expect(other).rejects.toMatchObject({ name: 'AttestationPolicyError' })
  })

  it('and reference values are set at Intel, not here', async () => {
    const attestation = await service()
    await expect(attestation.setPolicy('default_cpu', 'package policy')).rejects.toThrow(
      /managed at Intel Trust Authority/,
    )
    await expect(attestation.registerReferenceValues(jsonObject({}), new Date())).rejects.toMatchObject({
      name: 'ReferenceValueError',
      message: expect.stringMatching(/managed at Intel Trust Authority/),
    })
    const withPolicy = attestation.evaluate([guest('tdx')], { ...context, policyId: 'default' })
    await expect(withPolicy).rejects.toMatchObject({ name: 'InvalidPolicyId' })
    expect(await attestation.getPolicy('default_cpu')).toBeUndefined()
    expect(await attestation.listPolicies()).toEqual([])
    expect(await attestation.queryReferenceValue('svn', new Date())).toBeUndefined()
  })
})

describe('the challenge (spec 02 §8.2)', () => {
  it.each([
    ['tdx', 'sha512'],
    ['sgx', 'sha256'],
    ['az-tdx-vtpm', 'sha256'],
  ] as const)('selects for %s the hash %s', async (tee, hash) => {
    const attestation = await service()
    expect(attestation.negotiate(tee, ['sha256', 'sha384', 'sha512'])).toEqual({ hash, announce: true })
    expect(attestation.negotiate(tee, undefined)).toEqual({ hash, announce: false })
    expect(() => attestation.negotiate(tee, [])).toThrow('ITA: TEE does not support any hash algorithms')
    expect(() => attestation.negotiate(tee, ['sha384'])).toThrow(hash)
  })

  it('refuses other TEEs', async () => {
    const attestation = await service()
    expect(() => attestation.negotiate('snp', ['sha384'])).toThrow('ITA: Unknown TEE specified')
  })
})

describe('the token', () => {
  const cases: readonly [string, Parameters<FakeIntelTrustAuthority['tamper']>[0], RegExp][] = [
    [
      'with a key in its header',
      (draft) => {
        const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
        draft.key = privateKey
        draft.header.jwk = { ...(publicKey.export({ format: 'jwk' }) as object), alg: 'PS384', kty: 'RSA' }
        Reflect.deleteProperty(draft.header, 'kid')
      },
      /brings its own key \(jwk\)/,
    ],
    [
      'with a certificate chain in its header',
      (draft) => {
        draft.header.x5c = ['AAAA']
      },
      /brings its own key \(x5c\)/,
    ],
    ['without a kid', ({ header }) => Reflect.deleteProperty(header, 'kid'), /names no key/],
    [
      'of another issuer',
      ({ claims }) => {
        claims.iss = 'Intel Trust Authority 2'
      },
      /untrusted-issuer/,
    ],
    [
      'of an algorithm that its key is not for',
      ({ header }) => {
        header.alg = 'RS256'
      },
      /unsupported-algorithm/,
    ],
    [
      'of an algorithm that Intel does not use',
      ({ header }) => {
        header.alg = 'PS256'
      },
      /algorithm is not one of PS384, RS256/,
    ],
    [
      'signed by a key under the same name',
      (draft) => {
        draft.key = makeSigningKey(makeSigningAuthorities()).privateKey
      },
      /bad-signature/,
    ],
    [
      'that has expired',
      ({ claims }) => {
        claims.exp = 1_700_000_000
      },
      /expired/,
    ],
    [
      'of another profile',
      ({ claims }) => {
        claims.eat_profile = 'https://portal.trustauthority.example/eat_profile.html'
      },
      /eat_profile/,
    ],
    ['without an id', ({ claims }) => Reflect.deleteProperty(claims, 'jti'), /jti/],
    [
      'for another kind of TEE',
      ({ claims }) => {
        ;(claims.tdx as Record<string, unknown>).attester_type = 'SGX'
      },
      /attester_type/,
    ],
    ['without claims on the TEE', ({ claims }) => Reflect.deleteProperty(claims, 'tdx'), /no claims "tdx"/],
  ]
  it.each(cases)('%s is not handed out', async (_, change, detail) => {
    intel.tamper(change)
    await expect(evaluate([guest('tdx')])).rejects.toEqual(refused(detail))
  })

  it('of another session is not handed out', async () => {
    const attestation = await service()
    const { token } = await attestation.evaluate([guest('tdx')], context)
    intel.fail({ kind: 'body', text: JSON.stringify({ token }) })
    const nonce = Buffer.alloc(32, 8).toString('base64')
    await expect(attestation.evaluate([guest('tdx', { nonce })], context)).rejects.toMatchObject({
      code: 'REPORT_DATA_MISMATCH',
    })
  })

  it('with other report data is not handed out', async () => {
    intel.tamper(({ claims }) => {
      ;(claims.tdx as Record<string, unknown>).tdx_report_data = '00'.repeat(64)
    })
    await expect(evaluate([guest('tdx')])).rejects.toMatchObject({ code: 'REPORT_DATA_MISMATCH' })
  })

  it('is not even minted for a nonce that the quote does not carry', async () => {
    const nonce = Buffer.alloc(32, 8).toString('base64')
    await expect(evaluate([guest('tdx', { nonce })])).rejects.toMatchObject({
      name: 'EvidenceRejected',
      detail: expect.stringMatching(/runtime data does not match report data/),
    })
  })

  it('for a TD that its host may debug is handed out in development only', async () => {
    const debug = specialTd({ attributes: Uint8Array.of(1) })
    await expect(evaluate([debug])).rejects.toMatchObject({ code: 'DEBUG_NOT_ALLOWED' })
    await expect(evaluate([debug], { allowDebug: true })).resolves.toBeDefined()
  })

  it('is handed out for init data only if the TD has their digest', async () => {
    const text = 'version = "0.1.0"\nalgorithm = "sha384"\n[data]\n'
    const initData = { kind: 'toml', text } as const
    const good = specialTd({ mrConfigId: initDataDigest(text, 'sha384') })
    await expect(evaluate([{ ...good, initData }])).resolves.toBeDefined()
    await expect(evaluate([{ ...guest('tdx'), initData }])).rejects.toMatchObject({
      code: 'INIT_DATA_MISMATCH',
    })
    await expect(evaluate([{ ...guest('az-tdx-vtpm'), initData }])).rejects.toMatchObject({
      code: 'INIT_DATA_UNSUPPORTED',
    })
  })

  it('is verified by a new key of Intel’s without a restart', async () => {
    const attestation = await service({}, intel.apiKey)
    await attestation.evaluate([guest('tdx')], context)
    intel.rotateKey()
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    await expect(attestation.evaluate([guest('tdx')], context)).resolves.toBeDefined()
  })

  it('is verified by keys that only Intel publishes', async () => {
    expect((await service()).jwks()).toEqual({ keys: [] })
  })
})

describe('when Intel does not answer as it should', () => {
  it.each([500, 502, 503, 504] as const)('asks again after status %d', async (status) => {
    intel.fail({ kind: 'status', status }, 2)
    await expect(evaluate([guest('tdx')])).resolves.toBeDefined()
    expect(intel.calls).toHaveLength(3)
    expect(notices).toHaveLength(2)
    expect(notices[0]).toContain(`status ${status}: failed (request-id `)
  })

  it('asks three times at most', async () => {
    intel.fail({ kind: 'status', status: 503 })
    await expect(evaluate([guest('tdx')])).rejects.toEqual(refused(/status 503/))
    expect(intel.calls).toHaveLength(3)
  })

  it('asks again after a connection that was cut', async () => {
    intel.fail({ kind: 'reset' }, 1)
    await expect(evaluate([guest('tdx')])).resolves.toBeDefined()
  })

  it('gives up on a server that is silent, within the time of a guest', async () => {
    intel.fail({ kind: 'silent' })
    const start = performance.now()
    await expect(evaluate([guest('tdx')], { totalTimeoutMs: 700 })).rejects.toEqual(
      refused(/no answer in time/),
    )
    expect(performance.now() - start).toBeLessThan(2_000)
  })

  it('is unavailable while the server is down', async () => {
    const tokens = await openTokens()
    const baseUrl = 'https://127.0.0.1:9'
    await expect(evaluate([guest('tdx')], { baseUrl, tokens })).rejects.toEqual(refused(/ECONNREFUSED/))
  })

  it('does not speak to a server with a certificate of another CA', async () => {
    const { ca } = makeServerIdentity('stranger')
    await expect(evaluate([guest('tdx')], { ca: ca.pem })).rejects.toEqual(
      refused(/connection failed \((?:UNABLE_TO_VERIFY_LEAF_SIGNATURE|.*CERT.*)\)/),
    )
    expect(intel.calls).toEqual([])
    expect(notices).toEqual([])
  })

  it.each([401, 403] as const)(
    'tells the operator of a refused API key (%d), and does not insist',
    async (status) => {
      intel.fail({ kind: 'status', status, error: 'Invalid API key' })
      const evaluation = evaluate([guest('tdx')])
      await expect(evaluation).rejects.toEqual(refused(/the API key is refused: Invalid API key/))
      await expect(evaluation).rejects.not.toThrow(intel.apiKey)
      expect(intel.calls).toHaveLength(1)
    },
  )

  it('is refused with a wrong API key', async () => {
    const attestation = await service({}, `wrong-${'x'.repeat(40)}`)
    await expect(attestation.evaluate([guest('tdx')], context)).rejects.toEqual(refused(/401/))
  })

  it('does not start without an API key', async () => {
    await expect(service({}, 'short')).rejects.toMatchObject({ name: 'TokenFileError' })
  })

  it('waits as long as the quota demands, where a guest can wait', async () => {
    intel.fail({ kind: 'status', status: 429, retryAfter: '1' }, 1)
    const start = performance.now()
    await expect(evaluate([guest('tdx')])).resolves.toBeDefined()
    expect(performance.now() - start).toBeGreaterThan(990)
  })

  it('makes no call until the quota allows it again, for any guest', async () => {
    intel.fail({ kind: 'status', status: 429, retryAfter: '60' }, 1)
    const attestation = await service()
    await expect(attestation.evaluate([guest('tdx')], context)).rejects.toEqual(refused(/status 429/))
    await expect(attestation.evaluate([guest('tdx')], context)).rejects.toEqual(refused(/quota is used up/))
    expect(intel.calls).toHaveLength(1)
  })

  it.each([
    ['nothing', ''],
    ['a page', '<html>Please log in</html>'],
    ['JSON without a token', '{"jwt":"a.b.c"}'],
    ['a token that is none', '{"token":"no token"}'],
    ['a token of nonsense', '{"token":"a.b.c"}'],
    ['a list', '[]'],
  ])('refuses %s', async (_, text) => {
    intel.fail({ kind: 'body', text })
    await expect(evaluate([guest('tdx')])).rejects.toEqual(refused(/token/))
  })

  it('reads no more than it can hold', async () => {
    intel.fail({ kind: 'oversize' })
    await expect(evaluate([guest('tdx')])).rejects.toEqual(refused(/larger than/))
  })

  it('follows no redirect, and asks nobody else', async () => {
    intel.fail({ kind: 'status', status: 302 })
    await expect(evaluate([guest('tdx')])).rejects.toEqual(refused(/status 302/))
    expect(intel.calls).toHaveLength(1)
  })

  it('is ready while it has Intel’s keys', async () => {
    await expect((await service()).ping()).resolves.toBeUndefined()
    const none = {
      ...(await openTokens()),
      ping: async () => Promise.reject(new PassportRejected('keys-unavailable', 'none')),
    }
    await expect((await service({ tokens: none })).ping()).rejects.toThrow('keys-unavailable')
  })
})
