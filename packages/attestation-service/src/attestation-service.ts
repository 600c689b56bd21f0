import type { JsonValue, Tee } from '@passport-kbs/protocol'
import type { VersionRecord } from '@passport-kbs/storage'
import type { EvidenceRejected } from '@passport-kbs/tee-evidence'

export type RuntimeDataHash = 'sha256' | 'sha384' | 'sha512' | 'sm3'

/** Evidence of one TEE or device, with what it has to be bound to (spec 02 §1.3, §2.3). */
export interface EvaluationItem {
  readonly tee: Tee
  readonly evidence: JsonValue
  readonly runtimeData?:
    | { readonly kind: 'raw'; readonly bytes: Uint8Array }
    | { readonly kind: 'structured'; readonly value: JsonValue }
  readonly initData?:
    | { readonly kind: 'digest'; readonly bytes: Uint8Array }
    | { readonly kind: 'toml'; readonly text: string }
  readonly runtimeDataHash: RuntimeDataHash
}

/** What came of an evaluation, for the answer and for the audit line. */
export interface Evaluation {
  /** Compact JWS: the passport. */
  readonly token: string
  readonly jti: string
  readonly expiresAt: Date
  readonly submods: readonly {
    readonly name: string
    readonly tee: Tee
    readonly status: 'none' | 'affirming' | 'warning' | 'contraindicated'
    readonly policyId: string
    readonly policySha384: string
  }[]
}

/**
 * Verify, appraise, mint. The built-in service, a remote Confidential Containers AS and Intel Trust Authority stand
 * behind this interface. `evaluate` throws `EvidenceRejected` (tee-evidence; never with `outage`), `AttestationPolicyError`
 * or `AttestationUnavailable`.
 */
export interface AttestationService {
  /** `items[0]` is the primary evidence. */
  evaluate(
    items: readonly EvaluationItem[],
    context: {
      readonly now: Date
      readonly requestId: string
      /** Policies are looked up as `<id>_<class>`; default is the service's own. Throws `InvalidPolicyId`. */
      readonly policyId?: string | undefined
    },
  ): Promise<Evaluation>
  /** Supplemental challenge: what `/auth` answers for this TEE besides a random nonce. Throws where the offer does not suffice. */
  negotiate(
    tee: Tee,
    supportedHashAlgorithms: readonly string[] | undefined,
  ): { readonly hash: RuntimeDataHash; readonly announce: boolean }
  /** Attestation policy management (spec 02 §1.7); ids carry the class suffix, e.g. `default_cpu`. Throws `PolicyCompileError`, `InvalidPolicyId`. */
  setPolicy(id: string, rego: string, by?: string): Promise<void>
  getPolicy(id: string): Promise<string | undefined>
  listPolicies(): Promise<readonly string[]>
  /** Earlier versions of policies; absent where a remote service keeps them. */
  readonly policyVersions?: PolicyVersions
  /** Registers an RVPS envelope (spec 02 §6.1), all of it or nothing. Throws `ReferenceValueError`. */
  registerReferenceValues(envelope: JsonValue, now: Date): Promise<readonly string[]>
  /** The stored value while it has not expired. */
  queryReferenceValue(id: string, now: Date): Promise<JsonValue | undefined>
  /** Public keys with `kid`, current first, then those still valid for tokens already minted. */
  jwks(): { keys: readonly Record<string, unknown>[] }
  readonly issuer: string
  /** Rejects when a dependency is down. For readiness. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** What was set when, and the way back. All throw `InvalidPolicyId`. */
export interface PolicyVersions {
  /** Newest first. */
  list(id: string): Promise<readonly VersionRecord[]>
  /** The text of a version. */
  read(id: string, sha384: string): Promise<string | undefined>
  /** Sets the text of an earlier version again; false where there is none. Throws `PolicyCompileError`. */
  rollBack(id: string, sha384: string, by?: string): Promise<boolean>
}

/** The policy is missing, or its evaluation failed; text names rules and paths, never claim values. */
export class AttestationPolicyError extends Error {
  override readonly name = 'AttestationPolicyError'
}

/** A reference-value message that cannot be taken as a whole. */
export class ReferenceValueError extends Error {
  override readonly name = 'ReferenceValueError'
}

/** A dependency (store, remote service, vendor collateral) cannot answer now: 503. */
export class AttestationUnavailable extends Error {
  override readonly name = 'AttestationUnavailable'
  /** The check that cannot be made, with `outage`, where what is missing is certificates, lists or collateral of a vendor. */
  readonly unmade: EvidenceRejected | undefined
  constructor(message: string, { unmade, ...options }: { cause?: unknown; unmade?: EvidenceRejected } = {}) {
    super(message, options)
    this.unmade = unmade
  }
}

/** For a guest: which check cannot be made. @param rejection with `outage` */
export function unmadeCheck(rejection: EvidenceRejected): AttestationUnavailable {
  const { check, code, detail } = rejection
  const message = `evidence cannot be verified now: ${check}: ${code}: ${detail}`
  return new AttestationUnavailable(message, { cause: rejection, unmade: rejection })
}

/** What a caller may know of why there is no answer now: the code, or nothing. */
export function unavailableReason({ unmade }: AttestationUnavailable): string | undefined {
  return unmade === undefined ? undefined : `evidence cannot be verified now: ${unmade.code}`
}

/** A remote service refuses what it was sent. The text is its own: for administrators and operators, not for guests. */
export class AttestationRefused extends Error {
  override readonly name = 'AttestationRefused'
}

/** An id that no policy can have. The text may go to the client. */
export class InvalidPolicyId extends Error {
  override readonly name = 'InvalidPolicyId'
}
