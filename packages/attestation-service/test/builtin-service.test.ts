import { PolicyCompileError } from '@passport-kbs/policy'
import {
  decodeUtf8,
  encodeBase64,
  encodeUtf8,
  findTeePublicKey,
  type JsonValue,
  jsonObject,
  parseEarClaims,
  parseJson,
  runtimeDataDigest,
  stringifyJson,
  type Tee,
} from '@passport-kbs/protocol'
import { type KeyValueStore, openStorage, type Storage, StorageUnavailable } from '@passport-kbs/storage'
import {
  createSampleDeviceVerifier,
  createSampleVerifier,
  EvidenceRejected,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { createLocalJWKSet, decodeJwt, type JWK, jwtVerify } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  AttestationPolicyError,
  AttestationUnavailable,
  type EvaluationItem,
  InvalidPolicyId,
} from '../src/attestation-service.ts'
import {
  type AttestationServiceOptions,
  createAttestationService,
  type EvaluationRecord,
} from '../src/builtin-service.ts'
import { defaultPolicies } from '../src/default-policies.ts'
import { claimsVerifier } from './claims-verifier.ts'

const sampleVerifier = createSampleVerifier({ enabled: true })
const sampleDeviceVerifier = createSampleDeviceVerifier({ enabled: true })

const now = new Date('2025-10-14T07:15:34.500Z')
const context = { now, requestId: 'request-1' }
const teeKey = {
  kty: 'EC',
  crv: 'P-256',
  alg: 'ECDH-ES+A256KW',
  x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
  y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
}
const runtimeData = (extra: object = { 'additional-evidence': '' }): JsonValue =>
  parseJson(JSON.stringify({ nonce: 'AAECAw==', 'tee-pubkey': teeKey, ...extra }))

const sampleEvidence = (value: JsonValue, svn = '1') =>
  jsonObject({ svn, report_data: encodeBase64(runtimeDataDigest(value, 'sha384')) })

function sampleItem(options: { initData?: EvaluationItem['initData']; extra?: object } = {}): EvaluationItem {
  const value = runtimeData(options.extra)
  return {
    tee: 'sample',
    evidence: sampleEvidence(value),
    runtimeData: { kind: 'structured', value },
    runtimeDataHash: 'sha384',
    ...(options.initData ? { initData: options.initData } : {}),
  }
}

const referenceValues = (values: object): JsonValue =>
  parseJson(JSON.stringify({ type: 'sample', payload: encodeBase64(encodeUtf8(JSON.stringify(values))) }))
const sampleReferenceValues = referenceValues({
  launch_digest: ['abcde'],
  svn: ['1'],
  major_version: 1,
  minimum_minor_version: 1,
})

const verifierMap = (...verifiers: Verifier[]) =>
  new Map<Tee, Verifier>(verifiers.map((verifier) => [verifier.tee, verifier]))

let storage: Storage
beforeEach(async () => {
  storage = await openStorage({ type: 'Memory' })
})

const open = (options: Partial<AttestationServiceOptions> = {}) =>
  createAttestationService({
    verifiers: verifierMap(sampleVerifier, sampleDeviceVerifier),
    storage,
    profile: 'development',
    now: () => now,
    ...options,
  })

const payloadOf = (token: string) =>
  JSON.parse(decodeUtf8(Buffer.from(token.split('.')[1] ?? '', 'base64url')))

const initDataText = `version = "0.1.0"
algorithm = "sha256"

[data]
"policy.rego" = '''
package agent_policy

policy_data := {"containers": [{"OCI": {"Annotations": {"io.kubernetes.cri.image-name": "nginx:1"}, "Process": {"User": {"UID": 0}}}}]}
'''
`

describe('the token of spec 02 §3.4', () => {
  it('has each field of the example, and ours beside them', async () => {
    const service = await open()
    await service.registerReferenceValues(sampleReferenceValues, now)
    const item = sampleItem({ initData: { kind: 'toml', text: initDataText } })
    const { token, jti, expiresAt, submods } = await service.evaluate([item], context)
    const reportData = encodeBase64(runtimeDataDigest(runtimeData(), 'sha384'))
    expect(payloadOf(token)).toEqual({
      eat_profile: 'tag:github.com,2024:confidential-containers/Trustee',
      iat: 1760426134,
      nbf: 1760426134,
      exp: 1760426434,
      iss: 'CoCo-Attestation-Service',
      jti,
      'passport-kbs.profile': 'development',
      'ear.verifier-id': {
        developer: 'https://confidentialcontainers.org',
        build: 'attestation-service 0.1.0',
      },
      submods: {
        cpu0: {
          'ear.status': 'affirming',
          'ear.trustworthiness-vector': {
            'instance-identity': 0,
            configuration: 2,
            executables: 3,
            'file-system': 0,
            hardware: 2,
            'runtime-opaque': 0,
            'storage-opaque': 0,
            'sourced-data': 0,
          },
          'ear.appraisal-policy-id': 'default',
          'ear.veraison.annotated-evidence': {
            init_data: expect.stringMatching(/^[\w+/]{43}=$/),
            init_data_claims: {
              agent_policy_claims: {
                containers: [
                  {
                    OCI: {
                      Annotations: { 'io.kubernetes.cri.image-name': 'nginx:1' },
                      Process: { User: { UID: 0 } },
                    },
                  },
                ],
              },
            },
            report_data: reportData,
            runtime_data_claims: { 'additional-evidence': '', nonce: 'AAECAw==', 'tee-pubkey': teeKey },
            sample: {
              debug: false,
              launch_digest: 'abcde',
              platform_version: { major: 1, minor: 4 },
              svn: '1',
            },
          },
          'ear.trustee.identifiers': { validated: { container_images: ['nginx:1'], container_uids: [0] } },
          'ear.passport-kbs.policy': { id: 'default_cpu', sha384: submods[0]?.policySha384 },
        },
      },
    })
    expect(expiresAt).toEqual(new Date(1760426434_000))
    expect(submods).toEqual([
      {
        name: 'cpu0',
        tee: 'sample',
        status: 'affirming',
        policyId: 'default_cpu',
        policySha384: expect.stringMatching(/^[0-9a-f]{96}$/),
      },
    ])
  })

  it('is contraindicated 33/97/2 without reference values', async () => {
    const { token } = await (await open()).evaluate([sampleItem()], context)
    const { cpu0 } = payloadOf(token).submods
    expect(cpu0['ear.status']).toBe('contraindicated')
    expect(cpu0['ear.trustworthiness-vector']).toMatchObject({
      executables: 33,
      hardware: 97,
      configuration: 2,
    })
    expect(cpu0['ear.trustee.identifiers']).toEqual({ validated: {} })
  })

  it('is contraindicated again once the reference values have expired', async () => {
    const service = await open()
    await service.registerReferenceValues(sampleReferenceValues, now)
    const at = new Date('2026-10-14T07:15:35Z')
    const { submods } = await service.evaluate([sampleItem()], { ...context, now: at })
    expect(submods[0]?.status).toBe('contraindicated')
  })

  it('is what a passport’s reader expects', async () => {
    const service = await open({
      broker: { audience: ['https://kbs2.example'], issuerName: 'https://kbs1.example' },
    })
    const { token } = await service.evaluate([sampleItem()], context)
    const keys = createLocalJWKSet({ keys: [...service.jwks().keys] as unknown as JWK[] })
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer: 'https://kbs1.example',
      audience: 'https://kbs2.example',
      algorithms: ['ES256'],
      currentDate: now,
    })
    expect(protectedHeader.kid).toBe(service.signer.kid)
    expect(payload.aud).toEqual(['https://kbs2.example'])
    const claims = parseJson(stringifyJson(parseJson(JSON.stringify(payload))))
    expect(Object.keys(parseEarClaims(claims).submods)).toEqual(['cpu0'])
    expect(findTeePublicKey(claims)).toMatchObject({ kty: 'EC' })
  })

  it('has its own id each time', async () => {
    const service = await open()
    const ids = await Promise.all(
      [1, 2, 3].map(async () => (await service.evaluate([sampleItem()], context)).jti),
    )
    expect(new Set(ids).size).toBe(3)
  })

  it('lives as long as the configuration says', async () => {
    const service = await open({ broker: { durationMin: 60 } })
    const { iat, exp } = decodeJwt((await service.evaluate([sampleItem()], context)).token)
    expect((exp ?? 0) - (iat ?? 0)).toBe(3600)
    for (const durationMin of [0, -1, 1.5, 10_081, Number.NaN]) {
      await expect(open({ broker: { durationMin } })).rejects.toThrow(RangeError)
    }
  })

  it('does not repeat the evidence of devices where it is not to be verbose', async () => {
    const service = await open({ broker: { verboseToken: false } })
    const { token } = await service.evaluate([sampleItem()], context)
    const evidence = payloadOf(token).submods.cpu0['ear.veraison.annotated-evidence']
    expect(Object.keys(evidence.runtime_data_claims)).toEqual(['nonce', 'tee-pubkey'])
  })

  it('keeps all digits of the claims', async () => {
    const verifier = claimsVerifier('snp', 'cpu', parseJson('{"tcb": 18446744073709551615, "ratio": 1.50}'))
    const service = await open({ verifiers: verifierMap(verifier), profile: 'production' })
    const item: EvaluationItem = { tee: 'snp', evidence: null, runtimeDataHash: 'sha384' }
    const { token } = await service.evaluate([item], context)
    const text = decodeUtf8(Buffer.from(token.split('.')[1] ?? '', 'base64url'))
    expect(text).toContain('"snp":{"tcb":18446744073709551615,"ratio":1.50}')
    expect(text).not.toContain('passport-kbs.profile')
  })
})

const snpItem: EvaluationItem = { tee: 'snp', evidence: null, runtimeDataHash: 'sha384' }

/** A verifier that rejects everything, as the verdict or for want of a source. */
function rejecting(tee: Tee, outage: boolean): Verifier {
  const rejection = new EvidenceRejected('VEK_UNAVAILABLE', 'endorsement-key', 'no source', { outage })
  return { tee, checks: [], verify: () => Promise.reject(rejection) }
}

describe('evidence that cannot be verified for want of a source', () => {
  it('is unavailable, and says which check cannot be made', async () => {
    const service = await open({ verifiers: verifierMap(rejecting('snp', true)) })
    const error = await service.evaluate([snpItem], context).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(AttestationUnavailable)
    expect(error).toMatchObject({ unmade: { code: 'VEK_UNAVAILABLE', check: 'endorsement-key' } })
  })

  it('is refused where that of a device beside it is', async () => {
    const verifiers = verifierMap(
      claimsVerifier('snp', 'cpu', parseJson('{}')),
      rejecting('hygondcu', true),
      rejecting('nvidia', false),
    )
    const service = await open({ verifiers })
    const items = [snpItem, { ...snpItem, tee: 'hygondcu' }, { ...snpItem, tee: 'nvidia' }] as const
    await expect(service.evaluate(items, context)).rejects.toThrow(EvidenceRejected)
    await expect(service.evaluate(items.slice(0, 2), context)).rejects.toThrow(AttestationUnavailable)
  })
})

describe('evidence (spec 02 §2.1)', () => {
  const rejection = async (items: readonly EvaluationItem[], options = {}) => {
    const service = await open(options)
    const error = await service.evaluate(items, context).catch((reason: unknown) => reason)
    if (!(error instanceof EvidenceRejected)) throw new Error('EvidenceRejected expected', { cause: error })
    return error
  }

  it('has to be there', async () => {
    expect((await rejection([])).code).toBe('INPUT_INVALID')
  })

  it('is bound to the runtime data', async () => {
    const item = {
      ...sampleItem(),
      runtimeData: { kind: 'structured', value: runtimeData({ more: 1 }) },
    } as const
    expect((await rejection([item])).code).toBe('REPORT_DATA_MISMATCH')
  })

  it('cannot be bound to runtime data without a canonical form', async () => {
    const value = parseJson('{"n":12345678901234567891}')
    const item = { ...sampleItem(), runtimeData: { kind: 'structured', value } } as const
    expect((await rejection([item])).code).toBe('INPUT_INVALID')
  })

  it('is bound to raw runtime data as it is', async () => {
    const bytes = new Uint8Array(64).fill(3)
    const item: EvaluationItem = {
      tee: 'sample',
      evidence: jsonObject({ svn: '1', report_data: encodeBase64(bytes) }),
      runtimeData: { kind: 'raw', bytes },
      runtimeDataHash: 'sha384',
    }
    const { token } = await (await open()).evaluate([item], context)
    expect(payloadOf(token).submods.cpu0['ear.veraison.annotated-evidence'].runtime_data_claims).toBeNull()
    for (const size of [0, 65]) {
      const raw = { ...item, runtimeData: { kind: 'raw', bytes: new Uint8Array(size) } } as const
      expect((await rejection([raw])).code).toBe('INPUT_INVALID')
    }
  })

  it('of a TEE without verifier is refused', async () => {
    const error = await rejection([{ ...sampleItem(), tee: 'cca' }])
    expect(error.code).toBe('TEE_NOT_ENABLED')
    const service = await open()
    expect(() => service.negotiate('cca', undefined)).toThrow(EvidenceRejected)
  })

  it.each(['sample', 'sampledevice'] as const)('of %s is refused in production', async (tee) => {
    const error = await rejection([{ ...sampleItem(), tee }], { profile: 'production' })
    expect(error.code).toBe('TEE_NOT_ENABLED')
    const service = await open({ profile: 'production' })
    expect(() => service.negotiate(tee, undefined)).toThrow(EvidenceRejected)
  })

  it('of a device that fails fails the whole evaluation', async () => {
    const device: EvaluationItem = { ...sampleItem(), tee: 'sampledevice', evidence: sampleEvidence('other') }
    expect((await rejection([sampleItem(), device])).check).toBe('report-data')
  })

  it('of devices is not looked at before the primary evidence holds', async () => {
    const tees: Tee[] = []
    const watched = (inner: Verifier): Verifier => ({
      ...inner,
      verify: (...args) => {
        tees.push(inner.tee)
        return inner.verify(...args)
      },
    })
    const verifiers = verifierMap(watched(sampleVerifier), watched(sampleDeviceVerifier))
    const bad = { ...sampleItem(), evidence: sampleEvidence('other') }
    await rejection([bad, { ...sampleItem(), tee: 'sampledevice' }], { verifiers })
    expect(tees).toEqual(['sample'])
  })

  it('of more devices than a host can hold is refused', async () => {
    expect((await rejection(Array.from({ length: 66 }, () => sampleItem()))).code).toBe('INPUT_INVALID')
  })

  it('negotiates SHA-384 and announces nothing (spec 01 §2.5)', async () => {
    const service = await open()
    expect(service.negotiate('sample', ['sha512'])).toEqual({ hash: 'sha384', announce: false })
  })
})

describe('submods (spec 02 §2.10)', () => {
  it('are numbered within their class, primary evidence first, devices by TEE name whatever the order', async () => {
    const gpus = claimsVerifier('nvidia', 'gpu', parseJson('{"uuid":"a"}'), parseJson('{"uuid":"b"}'))
    const verifiers = verifierMap(sampleVerifier, sampleDeviceVerifier, gpus)
    const service = await open({ verifiers })
    const value = runtimeData({})
    const device: EvaluationItem = {
      tee: 'sampledevice',
      evidence: sampleEvidence(value, '2'),
      runtimeData: { kind: 'structured', value },
      runtimeDataHash: 'sha384',
    }
    const nvidia: EvaluationItem = { tee: 'nvidia', evidence: null, runtimeDataHash: 'sha384' }
    for (const devices of [
      [device, nvidia],
      [nvidia, device],
    ]) {
      const { token, submods } = await service.evaluate([sampleItem(), ...devices], context)
      expect(submods.map(({ name, tee }) => [name, tee])).toEqual([
        ['cpu0', 'sample'],
        ['gpu0', 'nvidia'],
        ['gpu1', 'nvidia'],
        ['gpu2', 'sampledevice'],
      ])
      const { gpu1, gpu2 } = payloadOf(token).submods
      expect(gpu1['ear.veraison.annotated-evidence']).toEqual({ nvidia: { uuid: 'b' } })
      expect(gpu2['ear.passport-kbs.policy'].id).toBe('default_gpu')
    }
  })

  it('of a class without policy fail the evaluation', async () => {
    const dcu = claimsVerifier('hygondcu', 'dcu', parseJson('{}'))
    const service = await open({ verifiers: verifierMap(dcu) })
    const item: EvaluationItem = { tee: 'hygondcu', evidence: null, runtimeDataHash: 'sha384' }
    await expect(service.evaluate([item], context)).rejects.toThrow(
      'there is no attestation policy "default_dcu"',
    )
  })
})

const policy = (rules: string) => `package policy\n${rules}\n`

describe('attestation policies (spec 02 §1.7, §2.7)', () => {
  const evaluateWith = async (rules: string) => {
    const service = await open()
    await service.setPolicy('default_cpu', policy(rules))
    const { token } = await service.evaluate([sampleItem()], context)
    return payloadOf(token).submods.cpu0
  }

  it('are stored as Trustee stores them', async () => {
    const service = await open()
    await service.setPolicy('mine_cpu', policy('allow := true'))
    const keys = await storage.namespace('attestation_service_policy').list()
    expect(keys).toEqual([
      'default_cpu.rego',
      'default_gpu.rego',
      'default_ppcie.rego',
      'default_switch.rego',
      'mine_cpu.rego',
    ])
    expect(await service.listPolicies()).toContain('mine_cpu')
    expect(await service.getPolicy('mine_cpu')).toBe(policy('allow := true'))
    expect(await service.getPolicy('other_cpu')).toBeUndefined()
  })

  it('that do not compile are refused with line and column, and nothing is stored', async () => {
    const service = await open()
    const error = await service
      .setPolicy('mine_cpu', 'package policy\n\nallow := nonsense(1)\n')
      .catch((e) => e)
    expect(error).toBeInstanceOf(PolicyCompileError)
    expect(error.diagnostics[0].location).toMatchObject({ file: 'mine_cpu.rego', line: 3 })
    expect(await service.getPolicy('mine_cpu')).toBeUndefined()
  })

  it.each(['', 'a/b', '../a', 'a b', 'x'.repeat(129), 'ä'])('cannot have the id %j', async (id) => {
    const service = await open()
    await expect(service.setPolicy(id, policy('a := 1'))).rejects.toThrow(InvalidPolicyId)
    await expect(service.getPolicy(id)).rejects.toThrow(InvalidPolicyId)
  })

  it('are looked up by the configured id and the class', async () => {
    const service = await open({ policyId: 'mine' })
    await expect(service.evaluate([sampleItem()], context)).rejects.toThrow('"mine_cpu"')
    await service.setPolicy('mine_cpu', policy('trust_claims := {"hardware": 2}'))
  })

  it('without trust_claims give a vector of zeros and the status none, and the operator is told', async () => {
    const notices: string[] = []
    const service = await open({ onNotice: (notice) => notices.push(notice) })
    await service.setPolicy('default_cpu', policy('allow := true'))
    expect(notices).toEqual([expect.stringContaining('no rule data.policy.trust_claims')])
    const { token } = await service.evaluate([sampleItem()], context)
    const { cpu0 } = payloadOf(token).submods
    expect(cpu0['ear.status']).toBe('none')
    expect(Object.values(cpu0['ear.trustworthiness-vector'])).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('set only the claims that they name', async () => {
    const cpu0 = await evaluateWith('trust_claims := {"hardware": 2}')
    expect(cpu0['ear.trustworthiness-vector']).toEqual({ hardware: 2 })
  })

  it.each([
    ['unknown claims', 'trust_claims := {"hardwares": 2}'],
    ['claims that overflow', 'trust_claims := {"hardware": 258}'],
    ['empty claims', 'trust_claims := {}'],
    ['claims that are no object', 'trust_claims := 2'],
    ['undefined claims', 'trust_claims := {"hardware": input.nothing}'],
    ['undefined extensions', 'trust_claims := {"hardware": 2}\nextensions := input.nothing'],
    [
      'an extension with a core name',
      'extensions := [{"name": "ear.status", "key": -9, "value": "affirming"}]',
    ],
    ['conflicting values', 'trust_claims := {"hardware": h}\nh := 2 if true\nh := 97 if true'],
    ['an error in a builtin', 'trust_claims := {"hardware": to_number(input.sample.launch_digest)}'],
    ['a reference value name that is no string', 'trust_claims := {"hardware": query_reference_value(1)}'],
    [
      'work without end',
      'trust_claims := {"hardware": count([1 | numbers.range(1, 100000)[_]; numbers.range(1, 100000)[_]])}',
    ],
  ])('fail the evaluation for %s', async (_, rules) => {
    const error = await evaluateWith(rules).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(AttestationPolicyError)
    expect(String(error)).toContain('default_cpu')
    expect(String(error)).not.toContain('abcde')
  })

  it('add extensions to their submod', async () => {
    const cpu0 = await evaluateWith(
      'extensions := [{"name": "ear.mine", "key": -99, "value": {"svn": input.sample.svn, "s": {2, 1}}}]',
    )
    expect(cpu0['ear.mine']).toEqual({ svn: '1', s: [1, 2] })
  })

  it('see the time of the evaluation', async () => {
    const cpu0 = await evaluateWith('extensions := [{"name": "t", "key": -99, "value": time.now_ns()}]')
    expect(cpu0.t).toBe(Number(now.getTime()) * 1_000_000)
  })

  it('ask for all values of a round at once, for each once', async () => {
    const asked: (readonly string[])[] = []
    const counting = (inner: Storage): Storage => ({
      ...inner,
      namespace: (name) => {
        const store = inner.namespace(name)
        if (name !== 'reference_value') return store
        const getMany: KeyValueStore['getMany'] = async (keys) => {
          asked.push(keys)
          return await store.getMany(keys)
        }
        return { ...store, getMany }
      },
    })
    const service = await open({ storage: counting(storage) })
    await service.registerReferenceValues(sampleReferenceValues, now)
    asked.length = 0
    await service.evaluate([sampleItem()], context)
    expect(asked.flat().toSorted()).toEqual([
      'launch_digest',
      'major_version',
      'minimum_minor_version',
      'svn',
    ])
    expect(asked).toHaveLength(1)
  })
})

describe('a policy that changes', () => {
  const hardware = async (service: Awaited<ReturnType<typeof open>>) => {
    const { token } = await service.evaluate([sampleItem()], context)
    return payloadOf(token).submods.cpu0['ear.trustworthiness-vector'].hardware
  }
  const withHardware = (value: number) => policy(`trust_claims := {"hardware": ${value}}`)

  it('applies to every evaluation that starts after it was set', async () => {
    const service = await open()
    for (const value of [2, 3, 4, 5, 6]) {
      const before = hardware(service)
      await service.setPolicy('default_cpu', withHardware(value))
      expect(await hardware(service)).toBe(value)
      await before
    }
  })

  it('by another replica applies within the time configured', async () => {
    let time = 0
    const clock = () => time
    const [a, b] = [
      await open({ clock, policyMaxAgeMs: 1_000 }),
      await open({ clock, policyMaxAgeMs: 1_000 }),
    ]
    await a.setPolicy('default_cpu', withHardware(2))
    expect(await hardware(b)).toBe(2)
    await a.setPolicy('default_cpu', withHardware(3))
    time += 999
    expect(await hardware(b)).toBe(2)
    time += 1
    expect(await hardware(b)).toBe(3)
  })

  it('to one that does not compile fails evaluations until it is replaced', async () => {
    const service = await open({ policyMaxAgeMs: 0 })
    await storage
      .namespace('attestation_service_policy')
      .set('default_cpu.rego', encodeUtf8('package policy\nx ='))
    await expect(hardware(service)).rejects.toThrow('does not compile')
    await service.setPolicy('default_cpu', withHardware(2))
    expect(await hardware(service)).toBe(2)
  })

  it('while evaluations run gives each of them the whole old or the whole new one', async () => {
    const service = await open()
    const both = (value: number) => policy(`trust_claims := {"hardware": ${value}, "executables": ${value}}`)
    await service.setPolicy('default_cpu', both(2))
    const running = Array.from({ length: 40 }, async (_, n) => {
      if (n % 4 === 0) await service.setPolicy('default_cpu', both((n % 20) + 2))
      const { token } = await service.evaluate([sampleItem()], context)
      const { cpu0 } = payloadOf(token).submods
      return [cpu0['ear.trustworthiness-vector'], cpu0['ear.passport-kbs.policy'].sha384]
    })
    const texts = new Map<string, number>()
    for (const [vector, sha384] of await Promise.all(running)) {
      expect(vector.hardware).toBe(vector.executables)
      expect(texts.get(sha384) ?? vector.hardware).toBe(vector.hardware)
      texts.set(sha384, vector.hardware)
    }
  })
})

describe('default policies at start (spec 02 W-24)', () => {
  const states = async () => {
    const notices: string[] = []
    const service = await open({ onNotice: (notice) => notices.push(notice) })
    return { states: (await service.defaultPolicies()).map(({ state }) => state), notices }
  }

  it('are installed where there are none, and once', async () => {
    expect(await states()).toEqual({ states: Array(4).fill('installed'), notices: [] })
    expect(await states()).toEqual({ states: Array(4).fill('current'), notices: [] })
    const store = storage.namespace('attestation_service_policy')
    expect(decodeUtf8((await store.get('default_cpu.rego')) ?? new Uint8Array())).toBe(
      defaultPolicies.get('default_cpu'),
    )
  })

  it('never replace one that is there, and the operator is told', async () => {
    const store = storage.namespace('attestation_service_policy')
    await store.set('default_cpu.rego', encodeUtf8('package policy'))
    const { states: found, notices } = await states()
    expect(found).toEqual(['edited', 'installed', 'installed', 'installed'])
    expect(notices).toEqual([expect.stringContaining('default_cpu')])
    expect(decodeUtf8((await store.get('default_cpu.rego')) ?? new Uint8Array())).toBe('package policy')
  })
})

describe('a store that is down', () => {
  const failing = (inner: Storage, isDown: () => boolean): Storage => ({
    ...inner,
    ping: async () => {
      if (isDown()) throw new StorageUnavailable('down')
    },
    namespace: (name) => {
      const store = inner.namespace(name)
      const guard =
        <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
        async (...args: A): Promise<R> => {
          if (isDown()) throw new StorageUnavailable('down')
          return await method(...args)
        }
      return {
        get: guard(store.get),
        set: guard(store.set),
        compareAndSet: guard(store.compareAndSet),
        getMany: guard(store.getMany),
        delete: guard(store.delete),
        list: guard(store.list),
      }
    },
  })

  it('is unavailability and not a verdict', async () => {
    let down = false
    const service = await open({ storage: failing(storage, () => down), policyMaxAgeMs: 0 })
    await service.ping()
    down = true
    await expect(service.evaluate([sampleItem()], context)).rejects.toThrow(AttestationUnavailable)
    await expect(service.setPolicy('default_cpu', policy('a := 1'))).rejects.toThrow(AttestationUnavailable)
    await expect(service.queryReferenceValue('svn', now)).rejects.toThrow(AttestationUnavailable)
    await expect(service.registerReferenceValues(sampleReferenceValues, now)).rejects.toThrow(
      AttestationUnavailable,
    )
    await expect(service.ping()).rejects.toThrow(AttestationUnavailable)
  })

  it('at start does not stop the service, which installs its policies once the store is back', async () => {
    let down = true
    const notices: string[] = []
    const onNotice = (notice: string) => notices.push(notice)
    const service = await open({ storage: failing(storage, () => down), onNotice })
    expect(notices).toEqual(['the default policies could not be installed yet'])
    await expect(service.ping()).rejects.toThrow(AttestationUnavailable)
    await expect(service.evaluate([sampleItem()], context)).rejects.toThrow(AttestationUnavailable)
    down = false
    await service.ping()
    expect((await service.evaluate([sampleItem()], context)).submods).toHaveLength(1)
  })

  it('for reference values alone is unavailability too', async () => {
    let down = false
    const service = await open({ referenceValueStorage: failing(storage, () => down) })
    await service.evaluate([sampleItem()], context)
    down = true
    await expect(service.evaluate([sampleItem()], context)).rejects.toThrow(AttestationUnavailable)
  })
})

describe('audit', () => {
  it('is told what was minted, with policies and checks, and nothing of evidence or token', async () => {
    const records: EvaluationRecord[] = []
    const service = await open({ onEvaluated: (record) => void records.push(record) })
    const { token, jti } = await service.evaluate([sampleItem()], context)
    expect(records).toEqual([
      {
        requestId: 'request-1',
        at: now,
        durationMs: expect.any(Number),
        tees: ['sample'],
        outcome: {
          kind: 'minted',
          jti,
          expiresAt: new Date(1760426434_000),
          submods: [
            expect.objectContaining({
              name: 'cpu0',
              passedChecks: ['enabled', 'evidence-format', 'report-data'],
            }),
          ],
        },
      },
    ])
    expect(JSON.stringify(records)).not.toContain(token.slice(-40))
  })

  it('is told what was refused, and why', async () => {
    const records: EvaluationRecord[] = []
    const service = await open({ onEvaluated: (record) => void records.push(record) })
    await expect(service.evaluate([{ ...sampleItem(), tee: 'cca' }], context)).rejects.toThrow(
      EvidenceRejected,
    )
    expect(records[0]?.outcome).toEqual({ kind: 'refused', error: expect.any(EvidenceRejected) })
  })

  it('is told of what could not be verified for want of a source', async () => {
    const records: EvaluationRecord[] = []
    const verifiers = verifierMap(rejecting('snp', true))
    const service = await open({ verifiers, onEvaluated: (record) => void records.push(record) })
    await expect(service.evaluate([snpItem], context)).rejects.toThrow(AttestationUnavailable)
    expect(records[0]?.outcome).toEqual({ kind: 'refused', error: expect.any(AttestationUnavailable) })
  })

  it('that fails lets no token leave', async () => {
    const service = await open({ onEvaluated: () => Promise.reject(new Error('no audit')) })
    await expect(service.evaluate([sampleItem()], context)).rejects.toThrow('no audit')
  })
})
