import {
  type CompiledPolicy,
  compilePolicy,
  PolicyCompileError,
  QUERY_REFERENCE_VALUE,
} from '@passport-kbs/policy'
import { decodeUtf8, encodeUtf8 } from '@passport-kbs/protocol'
import {
  type DerivedValue,
  deriveFromStore,
  type KeyValueStore,
  type VersionHistory,
} from '@passport-kbs/storage'
import { AttestationPolicyError, InvalidPolicyId, type PolicyVersions } from './attestation-service.ts'
import { policyIdOf, policyKey } from './default-policies.ts'

/** Attestation policies by id, class suffix included (`default_cpu`). */
export interface PolicyStore {
  /**
   * Compiles, records the version, then stores. Throws `InvalidPolicyId` and `PolicyCompileError`. Answers the hash and
   * what is doubtful about it.
   */
  set(id: string, rego: string, by?: string): Promise<{ sha384: string; doubts: readonly string[] }>
  get(id: string): Promise<string | undefined>
  list(): Promise<readonly string[]>
  /** The policy as stored at most `maxAgeMs` ago, compiled. Throws `AttestationPolicyError` where there is none. */
  compiled(id: string): Promise<CompiledPolicy>
  readonly versions: PolicyVersions
}

export interface PolicyStoreOptions {
  /** How long another replica's change may go unseen, in milliseconds. */
  readonly maxAgeMs: number
  /** A monotonic clock in milliseconds. */
  readonly clock: () => number
  /** Told the hash whenever a text that was not in force here before is compiled. */
  readonly onLoaded?: (id: string, sha384: string) => void
  readonly history?: VersionHistory
  readonly now?: () => Date
}

export const trustClaimsRule = 'data.policy.trust_claims'
export const extensionsRule = 'data.policy.extensions'

const idForm = /^[A-Za-z0-9._-]{1,128}$/

/** Keeps policies in a store as Trustee does and compiles each text once (spec 02 §1.7, W-8, W-31). */
export function createPolicyStore(store: KeyValueStore, options: PolicyStoreOptions): PolicyStore {
  const { history, now = () => new Date() } = options
  const compiledById = new Map<string, DerivedValue<CompiledPolicy>>()

  const derived = (id: string) =>
    deriveFromStore(
      store,
      policyKey(id),
      (bytes) => {
        const policy = compileStored(id, bytes)
        options.onLoaded?.(id, policy.sha384)
        return policy
      },
      options,
    )

  const replace = async (id: string, rego: string, origin: 'set' | 'rollback', by: string | undefined) => {
    assertPolicyId(id)
    const policy = compileAttestationPolicy(id, rego)
    const text = encodeUtf8(rego)
    if (history) {
      await history.record(id, { text, at: now(), origin, by }, await store.get(policyKey(id)))
    }
    await store.set(policyKey(id), text)
    // a new one, since the old may just be reading what was there before
    compiledById.delete(id)
    return policy
  }

  return {
    set: async (id, rego, by) => {
      const policy = await replace(id, rego, 'set', by)
      return { sha384: policy.sha384, doubts: doubts(policy) }
    },
    versions: {
      list: async (id) => {
        assertPolicyId(id)
        return (await history?.list(id)) ?? []
      },
      read: async (id, sha384) => {
        assertPolicyId(id)
        const text = await history?.read(id, sha384)
        return text && decodeUtf8(text)
      },
      rollBack: async (id, sha384, by) => {
        assertPolicyId(id)
        const text = await history?.read(id, sha384)
        if (!text) return false
        await replace(id, decodeUtf8(text), 'rollback', by)
        return true
      },
    },
    get: async (id) => {
      assertPolicyId(id)
      const bytes = await store.get(policyKey(id))
      return bytes && decodeUtf8(bytes)
    },
    list: async () => (await store.list()).map(policyIdOf).filter((id) => id !== undefined),
    compiled: async (id) => {
      assertPolicyId(id)
      const known = compiledById.get(id) ?? derived(id)
      compiledById.set(id, known)
      return await known.current()
    },
  }
}

/** @throws InvalidPolicyId */
export function assertPolicyId(id: string): void {
  if (!idForm.test(id))
    throw new InvalidPolicyId('a policy id is 1 to 128 letters, digits, dots, dashes and underscores')
}

/** @throws PolicyCompileError with line and column of every fault. */
export function compileAttestationPolicy(id: string, rego: string): CompiledPolicy {
  return compilePolicy([{ file: policyKey(id), text: rego }], { externals: [QUERY_REFERENCE_VALUE] })
}

function compileStored(id: string, bytes: Uint8Array | undefined): CompiledPolicy {
  if (!bytes) throw new AttestationPolicyError(`there is no attestation policy ${JSON.stringify(id)}`)
  try {
    return compileAttestationPolicy(id, decodeUtf8(bytes))
  } catch (cause) {
    if (!(cause instanceof PolicyCompileError)) throw cause
    throw new AttestationPolicyError(`the attestation policy ${JSON.stringify(id)} does not compile`, {
      cause,
    })
  }
}

function doubts(policy: CompiledPolicy): readonly string[] {
  const found = policy.warnings.map(({ message, location }) => `line ${location.line}: ${message}`)
  if (policy.rulePaths.includes(trustClaimsRule)) return found
  return [`there is no rule ${trustClaimsRule}: tokens will have the status "none"`, ...found]
}
