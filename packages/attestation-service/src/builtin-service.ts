import { performance } from 'node:perf_hooks'
import type { Tee } from '@passport-kbs/protocol'
import {
  createVersionHistory,
  type KeyValueStore,
  type Storage,
  StorageUnavailable,
} from '@passport-kbs/storage'
import { EvidenceRejected, type Verifier } from '@passport-kbs/tee-evidence'
import {
  type AttestationService,
  AttestationUnavailable,
  type EvaluationItem,
  unmadeCheck,
} from './attestation-service.ts'
import { type DefaultPolicyState, installDefaultPolicies } from './default-policies.ts'
import { assertPolicyId, createPolicyStore } from './policy-store.ts'
import type { ReferenceValueTrust } from './reference-values/trusted-keys.ts'
import { createReferenceValues, type ReferenceValues } from './reference-values.ts'
import { appraiseAttesters } from './submods.ts'
import { type MintedToken, openTokenBroker, type TokenBrokerOptions } from './token-broker.ts'
import type { TokenSigner } from './token-signer.ts'
import { type EnabledVerifiers, verifierOf, verifyEvidence } from './verification.ts'

export interface AttestationServiceOptions {
  /** The TEEs that are verified. */
  readonly verifiers: ReadonlyMap<Tee, Verifier>
  /** Attestation policies. */
  readonly storage: Storage
  /** Reference values, where they are elsewhere. */
  readonly referenceValueStorage?: Storage | undefined
  /** Reference values that another process keeps; then neither the storage nor the trust for them counts. */
  readonly referenceValues?: (ReferenceValues & { ping(): Promise<void> }) | undefined
  /** Who may sign reference values. Default: nobody, and they need not be signed. */
  readonly referenceValueTrust?: ReferenceValueTrust | undefined
  readonly broker?: TokenBrokerOptions | undefined
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
  /** Told the hash whenever a policy that was not in force here before is compiled. */
  readonly onPolicyLoaded?: ((id: string, sha384: string) => void) | undefined
  /** Told of what an operator should know. */
  readonly onNotice?: Notice | undefined
}

/** One evaluation, for an audit line: no evidence, no claims, no token. */
export interface EvaluationRecord {
  readonly requestId: string
  readonly at: Date
  readonly durationMs: number
  readonly tees: readonly Tee[]
  readonly outcome:
    | ({ readonly kind: 'minted' } & Omit<MintedToken, 'token'>)
    | { readonly kind: 'refused'; readonly error: unknown }
}

/** The service that runs in this process, and what only it can do. */
export interface BuiltInAttestationService extends AttestationService {
  readonly signer: TokenSigner
  /** What was found of the shipped policies; installs those that are missing. */
  defaultPolicies(): Promise<readonly DefaultPolicyState[]>
}

type Notice = (notice: string, cause?: unknown) => void

const policyNamespace = 'attestation_service_policy'
const historyNamespace = 'policy_history'
const referenceValueNamespace = 'reference_value'

/**
 * Makes the built-in attestation service (spec 02 §2): verifies evidence, appraises it with the stored policies and
 * mints EAR tokens. Installs the default policies where there are none; with a store that is down, once it is back.
 * @throws SigningKeyError, InvalidPolicyId, RangeError for a setting out of its range.
 */
export async function createAttestationService(
  options: AttestationServiceOptions,
): Promise<BuiltInAttestationService> {
  const { storage, referenceValueStorage = storage, policyId = 'default', onNotice = () => {} } = options
  const clock = options.clock ?? (() => performance.now())
  const development = options.profile === 'development'
  assertPolicyId(`${policyId}_nvidia-dpu`)
  const broker = await openTokenBroker(options.broker ?? {}, {
    development,
    now: options.now ?? (() => new Date()),
    onNotice,
  })
  const policyStore = storage.namespace(policyNamespace)
  const policies = createPolicyStore(policyStore, {
    maxAgeMs: options.policyMaxAgeMs ?? 1_000,
    clock,
    now: options.now ?? (() => new Date()),
    history: createVersionHistory(storage.namespace(historyNamespace), { owner: 'attestation' }),
    ...(options.onPolicyLoaded ? { onLoaded: options.onPolicyLoaded } : {}),
  })
  const referenceValues =
    options.referenceValues ??
    createReferenceValues(
      referenceValueStorage.namespace(referenceValueNamespace),
      options.referenceValueTrust,
    )
  const defaultPolicies = installOnce(policyStore, onNotice)
  await defaultPolicies().catch((cause) => onNotice('the default policies could not be installed yet', cause))
  const enabled: EnabledVerifiers = { verifiers: options.verifiers, development }
  const appraiseWith = {
    policies,
    policyId,
    verboseToken: options.broker?.verboseToken ?? true,
    referenceValues,
    clock,
    timeLimitMs: options.policyTimeLimitMs ?? 2_000,
  }
  const evaluate = evaluation(options, async (items, at, ownPolicyId = policyId) => {
    assertPolicyId(`${ownPolicyId}_nvidia-dpu`)
    await defaultPolicies()
    const attesters = await verifyEvidence(items, enabled, at)
    const rules = { ...appraiseWith, policyId: ownPolicyId, now: at }
    return await broker.mint(await appraiseAttesters(attesters, rules), at)
  })

  return {
    issuer: broker.issuer,
    signer: broker.signer,
    defaultPolicies: () => available(defaultPolicies),
    jwks: () => ({ keys: broker.signer.jwks().keys.map((jwk) => ({ ...jwk })) }),
    evaluate,
    negotiate: (tee) => {
      verifierOf(tee, enabled)
      return { hash: 'sha384', announce: false }
    },
    setPolicy: async (id, rego, by) => {
      const { doubts } = await available(() => policies.set(id, rego, by))
      for (const doubt of doubts) onNotice(`policy ${id}: ${doubt}`)
    },
    policyVersions: {
      list: (id) => available(() => policies.versions.list(id)),
      read: (id, sha384) => available(() => policies.versions.read(id, sha384)),
      rollBack: (id, sha384, by) => available(() => policies.versions.rollBack(id, sha384, by)),
    },
    getPolicy: (id) => available(() => policies.get(id)),
    listPolicies: () => available(() => policies.list()),
    registerReferenceValues: (envelope, at) => available(() => referenceValues.register(envelope, at)),
    queryReferenceValue: (id, at) => available(() => referenceValues.query(id, at)),
    ping: () =>
      available(async () => {
        await storage.ping()
        if (options.referenceValues !== undefined) await options.referenceValues.ping()
        else if (referenceValueStorage !== storage) await referenceValueStorage.ping()
        await defaultPolicies()
      }),
    // stores and verifiers belong to the caller
    close: async () => {},
  }
}

/** Mints with an audit record of what came of it. */
function evaluation(
  { onEvaluated, onNotice, clock = () => performance.now() }: AttestationServiceOptions,
  mint: (items: readonly EvaluationItem[], at: Date, policyId: string | undefined) => Promise<MintedToken>,
): AttestationService['evaluate'] {
  return async (items, { now: at, requestId, policyId }) => {
    const startedAt = clock()
    const record = async (outcome: EvaluationRecord['outcome']) => {
      const tees = items.map(({ tee }) => tee)
      await onEvaluated?.({ requestId, at, durationMs: clock() - startedAt, tees, outcome })
    }
    let minted: MintedToken
    try {
      minted = await available(() => mint(items, at, policyId))
    } catch (error) {
      await record({ kind: 'refused', error }).catch((cause) =>
        onNotice?.('a refusal could not be audited', cause),
      )
      throw error
    }
    const { token, jti, expiresAt, submods } = minted
    await record({ kind: 'minted', jti, expiresAt, submods })
    return { token, jti, expiresAt, submods: submods.map(({ passedChecks: _, ...submod }) => submod) }
  }
}

/** Installs the default policies the first time that the store answers. */
function installOnce(store: KeyValueStore, notice: Notice): () => Promise<readonly DefaultPolicyState[]> {
  let installed: Promise<readonly DefaultPolicyState[]> | undefined
  const install = async () => {
    const states = await installDefaultPolicies(store)
    for (const { id, state } of states) {
      if (state === 'outdated')
        notice(`the stored policy ${id} is the default of an earlier version: replace it`)
      if (state === 'edited') notice(`the stored policy ${id} is not the default of this version`)
    }
    return states
  }
  return () => {
    installed ??= install().catch((error: unknown) => {
      installed = undefined
      throw error
    })
    return installed
  }
}

/** A store that cannot answer is 503, wherever in the cause it shows; so is a source of what vouches for evidence. */
async function available<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof EvidenceRejected && error.outage) throw unmadeCheck(error)
    for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth++) {
      if (cause instanceof StorageUnavailable) {
        throw new AttestationUnavailable('the store cannot answer', { cause: error })
      }
    }
    throw error
  }
}
