import {
  type CompiledPolicy,
  compilePolicy,
  fromJs,
  PolicyError,
  PolicyLimitError,
  type RuleResult,
  toJs,
} from '@passport-kbs/policy'
import { decodeUtf8, EncodingError, type JsonObject } from '@passport-kbs/protocol'
import {
  deriveFromStore,
  type KeyValueStore,
  StorageUnavailable,
  type VersionHistory,
  type VersionRecord,
} from '@passport-kbs/storage'

/** Where Trustee keeps the one resource policy: namespace `kbs` (spec 01 §4.4). */
export const resourcePolicyKey = 'resource-policy.rego'
export const resourcePolicyId = 'resource-policy'

const allowRule = 'data.policy.allow'

/** What the policy sees of a request, as top-level members of `data`. */
export interface PolicyQuestion {
  readonly plugin: string
  readonly method: string
  readonly resourcePath: readonly string[]
  readonly query: Readonly<Record<string, string>>
}

export type PolicyDecision =
  | { readonly allowed: true; readonly policySha384: string }
  | {
      readonly allowed: false
      readonly policySha384?: string
      readonly reason: string
      /** There is no rule, or it gives no boolean. */
      readonly isFault: boolean
    }

export interface ResourcePolicy {
  /** Only `data.policy.allow == true` allows. Throws `PolicyError` when the policy cannot be evaluated. */
  decide(claims: JsonObject, question: PolicyQuestion): Promise<PolicyDecision>
  /**
   * Compiles, records the version, then stores; throws `PolicyCompileError` and changes nothing when it does not compile.
   * Answers its SHA-384.
   */
  set(rego: string, by?: string): Promise<string>
  /** Ids of the stored policies. */
  list(): Promise<readonly string[]>
  /** The text in force. */
  get(): Promise<string | undefined>
  /** What was set when, newest first. */
  versions(): Promise<readonly VersionRecord[]>
  /** The text of a version. */
  version(sha384: string): Promise<string | undefined>
  /** Sets the text of an earlier version again; false where there is none. */
  rollBack(sha384: string, by?: string): Promise<boolean>
}

export interface ResourcePolicyOptions {
  readonly store: KeyValueStore
  /** Installed where the store has no policy. */
  readonly initial: string
  readonly timeoutMs: number
  readonly now: () => Date
  readonly clock: () => number
  readonly randomBytes: (size: number) => Uint8Array
  /** How long another replica's change may go unseen, in milliseconds. */
  readonly maxAgeMs: number
  /** Where versions are recorded. */
  readonly history?: VersionHistory
  /** Told the hash whenever a text that was not in force here before is compiled. */
  readonly onLoaded?: (sha384: string) => void
}

/**
 * The resource policy of KBS2: compiled when it changes, shared by all requests. A store that is down gets the initial
 * policy once it is back.
 */
export async function openResourcePolicy(options: ResourcePolicyOptions): Promise<ResourcePolicy> {
  const { store, history, onLoaded } = options
  const install = installOnce(options)
  await install().catch((error: unknown) => {
    if (!(error instanceof StorageUnavailable)) throw error
  })
  const load = (bytes: Uint8Array | undefined) => {
    const policy = compile(bytes)
    if (policy) onLoaded?.(policy.sha384)
    return policy
  }
  const derived = () => deriveFromStore(store, resourcePolicyKey, load, options)
  let compiled = derived()
  const replace = async (rego: string, origin: 'set' | 'rollback', by: string | undefined) => {
    const { sha384 } = compileText(rego)
    const text = new TextEncoder().encode(rego)
    if (history) {
      const version = { text, at: options.now(), origin, by }
      await history.record(resourcePolicyId, version, await store.get(resourcePolicyKey))
    }
    await store.set(resourcePolicyKey, text)
    // a new one, since the old may just be reading what was there before
    compiled = derived()
    return sha384
  }
  return {
    async decide(claims, question) {
      await install()
      return decide(await compiled.current(), options, claims, question)
    },
    async set(rego, by) {
      return await replace(rego, 'set', by)
    },
    async get() {
      const text = await store.get(resourcePolicyKey)
      return text && decodeUtf8(text)
    },
    async versions() {
      return (await history?.list(resourcePolicyId)) ?? []
    },
    async version(sha384) {
      const text = await history?.read(resourcePolicyId, sha384)
      return text && decodeUtf8(text)
    },
    async rollBack(sha384, by) {
      const text = await history?.read(resourcePolicyId, sha384)
      if (!text) return false
      await replace(decodeUtf8(text), 'rollback', by)
      return true
    },
    async list() {
      return (await store.get(resourcePolicyKey)) === undefined ? [] : [resourcePolicyId]
    },
  }
}

/** Writes the initial policy where there is none, the first time that the store answers. */
function installOnce({ store, initial }: ResourcePolicyOptions): () => Promise<boolean> {
  let installed: Promise<boolean> | undefined
  return () => {
    installed ??= store
      .set(resourcePolicyKey, new TextEncoder().encode(initial), { ifAbsent: true })
      .catch((error: unknown) => {
        installed = undefined
        throw error
      })
    return installed
  }
}

function compile(bytes: Uint8Array | undefined): CompiledPolicy | undefined {
  if (bytes === undefined) return undefined
  try {
    return compileText(decodeUtf8(bytes))
  } catch (error) {
    if (error instanceof EncodingError) throw new PolicyError('encoding', 'the stored policy is not UTF-8')
    throw error
  }
}

function compileText(text: string): CompiledPolicy {
  return compilePolicy([{ file: resourcePolicyKey, text }])
}

function decide(
  policy: CompiledPolicy | undefined,
  { timeoutMs, now, clock, randomBytes }: ResourcePolicyOptions,
  claims: JsonObject,
  question: PolicyQuestion,
): PolicyDecision {
  if (policy === undefined) return { allowed: false, reason: 'there is no resource policy', isFault: true }
  const startedAt = clock()
  const evaluation = policy.evaluate({
    rules: [allowRule],
    input: fromJs(claims),
    data: fromJs({
      plugin: question.plugin,
      method: question.method,
      'resource-path': question.resourcePath,
      query: question.query,
    }),
    now: BigInt(now().getTime()) * 1_000_000n,
    randomBytes,
    deadline: () => clock() - startedAt > timeoutMs,
  })
  // A resource policy is compiled without external functions, so there is nothing it could wait for.
  if (evaluation.kind !== 'done') throw new PolicyLimitError('rounds', 'the policy asks for external values')
  const result = evaluation.results.get(allowRule)
  const policySha384 = policy.sha384
  return isTrue(result)
    ? { allowed: true, policySha384 }
    : { allowed: false, policySha384, ...refusalOf(result) }
}

function isTrue(result: RuleResult | undefined): boolean {
  return result?.kind === 'value' && toJs(result.value) === true
}

function refusalOf(result: RuleResult | undefined): { readonly reason: string; readonly isFault: boolean } {
  if (result === undefined || result.kind === 'missing')
    return { reason: `${allowRule} does not exist`, isFault: true }
  if (result.kind === 'undefined') return { reason: `${allowRule} is undefined`, isFault: false }
  return toJs(result.value) === false
    ? { reason: `${allowRule} is false`, isFault: false }
    : { reason: `${allowRule} is not a boolean`, isFault: true }
}
