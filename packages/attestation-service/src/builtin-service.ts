import { randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { Tee } from '@passport-kbs/protocol'
import { type Storage, StorageUnavailable } from '@passport-kbs/storage'
import type { Verifier } from '@passport-kbs/tee-evidence'
import { type AttestationService, AttestationUnavailable, type Evaluation } from './attestation-service.ts'
import { type DefaultPolicyState, installDefaultPolicies } from './default-policies.ts'
import { earPayload, type TokenProfile } from './ear.ts'
import { assertPolicyId, createPolicyStore } from './policy-store.ts'
import { createReferenceValues } from './reference-values.ts'
import { appraiseAttesters, type Submod } from './submods.ts'
import { createTokenSigner, type TokenSigner, type TokenSignerOptions } from './token-signer.ts'
import { type EnabledVerifiers, verifierOf, verifyEvidence } from './verification.ts'

/** What passports say and who signs them (spec 02 §3.5). */
export interface TokenBroker {
  /** Lifetime of a token in minutes, 1 to 10 080. Default 5. */
  readonly durationMin?: number | undefined
  readonly issuerName?: string | undefined
  readonly developerName?: string | undefined
  readonly buildName?: string | undefined
  readonly profileName?: string | undefined
  /** False: `additional-evidence` is kept from policies and tokens. Default true. */
  readonly verboseToken?: boolean | undefined
  readonly audience?: string | readonly string[] | undefined
  /** A signer, or where its key is. Default: a key for the life of this process. */
  readonly signer?: TokenSigner | TokenSignerOptions | undefined
}

export interface AttestationServiceOptions {
  /** The TEEs that are verified. */
  readonly verifiers: ReadonlyMap<Tee, Verifier>
  /** Attestation policies. */
  readonly storage: Storage
  /** Reference values, where they are elsewhere. */
  readonly referenceValueStorage?: Storage | undefined
  readonly broker?: TokenBroker | undefined
  /** `sample` and `sampledevice` are verified in `development` only, and every token minted there says so. */
  readonly profile: 'production' | 'development'
  /** Policies are looked up as `<id>_<class>`. Default `default`. */
  readonly policyId?: string | undefined
  /** How long another replica's policy may go unseen, in milliseconds. Default 1 000. */
  readonly policyMaxAgeMs?: number | undefined
  /** How long one policy may compute for one attester, in milliseconds. Default 2 000. */
  readonly policyTimeLimitMs?: number | undefined
  readonly now?: (() => Date) | undefined
  /** A monotonic clock in milliseconds. */
  readonly clock?: (() => number) | undefined
  /** Told of every evaluation, for audit. Awaited: where it rejects, no token leaves. */
  readonly onEvaluated?: ((record: EvaluationRecord) => void | Promise<void>) | undefined
  /** Told of what an operator should know. */
  readonly onNotice?: ((notice: string, cause?: unknown) => void) | undefined
}

/** A submod for an audit line. */
export type MintedSubmod = Evaluation['submods'][number] & { readonly passedChecks: readonly string[] }

/** One evaluation, for an audit line: no evidence, no claims, no token. */
export interface EvaluationRecord {
  readonly requestId: string
  readonly at: Date
  readonly durationMs: number
  readonly tees: readonly Tee[]
  readonly outcome:
    | {
        readonly kind: 'minted'
        readonly jti: string
        readonly expiresAt: Date
        readonly submods: readonly MintedSubmod[]
      }
    | { readonly kind: 'refused'; readonly error: unknown }
}

/** The service that runs in this process, and what only it can do. */
export interface BuiltInAttestationService extends AttestationService {
  readonly signer: TokenSigner
  /** What was found of the shipped policies at start. */
  readonly defaultPolicies: readonly DefaultPolicyState[]
}

type Minted = Omit<Evaluation, 'submods'> & { readonly submods: readonly MintedSubmod[] }

const policyNamespace = 'attestation_service_policy'
const referenceValueNamespace = 'reference_value'

/**
 * Makes the built-in attestation service (spec 02 §2): verifies evidence, appraises it with the stored policies and
 * mints EAR tokens. Installs the default policies where there are none.
 * @throws SigningKeyError, StorageUnavailable, RangeError for a setting out of its range.
 */
export async function createAttestationService(
  options: AttestationServiceOptions,
): Promise<BuiltInAttestationService> {
  const { storage, referenceValueStorage = storage, broker = {}, policyId = 'default' } = options
  const now = options.now ?? (() => new Date())
  const clock = options.clock ?? (() => performance.now())
  const notice = options.onNotice ?? (() => {})
  assertPolicyId(`${policyId}_nvidia-dpu`)
  const profile = tokenProfile(broker, options.profile)
  const signer = await openSigner(broker.signer, profile, now, notice)
  const policyStore = storage.namespace(policyNamespace)
  const policies = createPolicyStore(policyStore, { maxAgeMs: options.policyMaxAgeMs ?? 1_000, clock })
  const referenceValues = createReferenceValues(referenceValueStorage.namespace(referenceValueNamespace))
  const defaultPolicies = await installDefaultPolicies(policyStore)
  for (const { id, state } of defaultPolicies) {
    if (state === 'outdated')
      notice(`the stored policy ${id} is the default of an earlier version: consider replacing it`)
    if (state === 'edited') notice(`the stored policy ${id} is not the default of this version`)
  }

  const enabled: EnabledVerifiers = { verifiers: options.verifiers, development: profile.development }
  const context = {
    policies,
    policyId,
    verboseToken: broker.verboseToken ?? true,
    referenceValues,
    clock,
    timeLimitMs: options.policyTimeLimitMs ?? 2_000,
  }

  const mint = async (submods: readonly Submod[], at: Date): Promise<Minted> => {
    const jti = randomUUID()
    const payload = earPayload(submods, profile, { now: at, jti })
    const token = await signer.sign(payload)
    const expiresAt = new Date((Math.floor(at.getTime() / 1000) + profile.durationSeconds) * 1000)
    return { token, jti, expiresAt, submods: submods.map(mintedSubmod) }
  }

  const evaluate: AttestationService['evaluate'] = async (items, { now: at, requestId }) => {
    const startedAt = clock()
    const record = async (outcome: EvaluationRecord['outcome']) => {
      const tees = items.map(({ tee }) => tee)
      await options.onEvaluated?.({ requestId, at, durationMs: clock() - startedAt, tees, outcome })
    }
    let minted: Minted
    try {
      minted = await available(async () => {
        const attesters = await verifyEvidence(items, enabled, at)
        return await mint(await appraiseAttesters(attesters, { ...context, now: at }), at)
      })
    } catch (error) {
      await record({ kind: 'refused', error }).catch((cause) =>
        notice('a refusal could not be audited', cause),
      )
      throw error
    }
    const { token, jti, expiresAt, submods } = minted
    await record({ kind: 'minted', jti, expiresAt, submods })
    return { token, jti, expiresAt, submods: submods.map(({ passedChecks: _, ...submod }) => submod) }
  }

  return {
    issuer: profile.issuerName,
    signer,
    defaultPolicies,
    jwks: () => ({ keys: signer.jwks().keys.map((jwk) => ({ ...jwk })) }),
    evaluate,
    negotiate: (tee) => {
      verifierOf(tee, enabled)
      return { hash: 'sha384', announce: false }
    },
    setPolicy: async (id, rego) => {
      for (const lack of await available(() => policies.set(id, rego))) notice(`policy ${id}: ${lack}`)
    },
    getPolicy: (id) => available(() => policies.get(id)),
    listPolicies: () => available(() => policies.list()),
    registerReferenceValues: (envelope, at) => available(() => referenceValues.register(envelope, at)),
    queryReferenceValue: (id, at) => available(() => referenceValues.query(id, at)),
    ping: () =>
      available(async () => {
        await storage.ping()
        if (referenceValueStorage !== storage) await referenceValueStorage.ping()
      }),
    // stores and verifiers belong to the caller
    close: async () => {},
  }
}

function mintedSubmod({ name, tee, appraisal, passedChecks }: Submod): MintedSubmod {
  const { status, policy } = appraisal
  return { name, tee, status, policyId: policy.id, policySha384: policy.sha384, passedChecks }
}

function tokenProfile(broker: TokenBroker, profile: 'production' | 'development'): TokenProfile {
  const durationMin = broker.durationMin ?? 5
  if (!Number.isInteger(durationMin) || durationMin < 1 || durationMin > 10_080) {
    throw new RangeError('the lifetime of a token is 1 to 10080 minutes')
  }
  return {
    durationSeconds: durationMin * 60,
    issuerName: nonEmpty('issuer name', broker.issuerName ?? 'CoCo-Attestation-Service'),
    developerName: nonEmpty('developer name', broker.developerName ?? 'https://confidentialcontainers.org'),
    buildName: nonEmpty('build name', broker.buildName ?? 'attestation-service 0.1.0'),
    profileName: nonEmpty(
      'profile name',
      broker.profileName ?? 'tag:github.com,2024:confidential-containers/Trustee',
    ),
    audience: broker.audience,
    development: profile === 'development',
  }
}

function nonEmpty(name: string, text: string): string {
  if (text === '') throw new RangeError(`the ${name} of tokens is empty`)
  return text
}

async function openSigner(
  signer: TokenBroker['signer'],
  { durationSeconds }: TokenProfile,
  now: () => Date,
  onNotice: (notice: string, cause?: unknown) => void,
): Promise<TokenSigner> {
  if (signer && 'sign' in signer) return signer
  // an hour more than the tokens live, for clocks and caches
  const retainSeconds = Math.max(signer?.retainSeconds ?? 86_400, durationSeconds + 3_600)
  return await createTokenSigner({ now, onNotice, ...signer, retainSeconds })
}

/** A store that cannot answer is 503, wherever in the cause it shows. */
async function available<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth++) {
      if (cause instanceof StorageUnavailable) {
        throw new AttestationUnavailable('the store cannot answer', { cause: error })
      }
    }
    throw error
  }
}
