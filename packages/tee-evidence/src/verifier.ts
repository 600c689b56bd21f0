import type { JsonObject, JsonValue, Tee, TeeClass } from '@passport-kbs/protocol'
import { CheckFailure, EvidenceRejected, type RejectionCode } from './rejection.ts'

/** What the caller knows and the evidence has to prove. Nothing here comes from the guest unchecked. */
export interface VerificationRequest {
  /** The clock for certificate, CRL and collateral validity. Never read from the system here. */
  readonly now: Date
  /** Digest of the runtime data, which the evidence must carry. Absent: the TEE's own rule decides (spec 03 §2.1). */
  readonly expectedReportData?: Uint8Array
  /** Digest of the init-data document. Absent: not compared. */
  readonly expectedInitDataDigest?: Uint8Array
}

/** One named check of a verifier, as documented in the check matrix. */
export interface Check {
  /** Kebab-case noun from the field, unique within the verifier: `report-signature`, `pcr-selection`. */
  readonly name: string
  /** Document and section that demands it. */
  readonly source: string
  /** The codes with which this check rejects. */
  readonly codes: readonly RejectionCode[]
  /** One sentence: what an attacker gains where this check is missing. */
  readonly protects: string
}

declare const verified: unique symbol

/** Evidence whose every check has passed. Only a verifier makes one. */
export interface VerifiedEvidence {
  readonly [verified]: true
  readonly tee: Tee
  readonly teeClass: TeeClass
  /** Claims exactly as policies expect them, `report_data` and `init_data` included (spec 02 §2.6). */
  readonly claims: JsonObject
  /**
   * Names of the checks that were made and passed, in order. A check is not in it when there was nothing to compare
   * (no expected value) or a policy switched it off: a claim in `claims` is no proof that it was compared.
   */
  readonly passed: readonly string[]
}

/**
 * Turns untrusted evidence into checked claims, or throws `EvidenceRejected`; no input may cause any other exception.
 * Most verifiers give one entry; device verifiers may give several.
 */
export interface Verifier {
  readonly tee: Tee
  readonly checks: readonly Check[]
  verify(evidence: JsonValue, request: VerificationRequest): Promise<readonly VerifiedEvidence[]>
}

/** For verifiers only: states that all checks of `tee` have passed. */
export function verifiedEvidence(fields: Omit<VerifiedEvidence, typeof verified>): VerifiedEvidence {
  return Object.freeze(fields) as VerifiedEvidence
}

/**
 * One pass over a verifier's list of checks. Every rejection gets the name of the check it happened in, and no
 * other exception leaves it: a check that cannot be made has failed.
 */
export class CheckRun {
  readonly #checks: ReadonlyMap<string, Check>
  readonly #passed: string[] = []

  constructor(checks: readonly Check[]) {
    this.#checks = new Map(checks.map((check) => [check.name, check]))
  }

  /** Names of the checks that passed, in the order in which they were made. */
  get passed(): readonly string[] {
    return this.#passed
  }

  /** Makes the check `name`, which must be on the list; gives what `make` gives. */
  make<T>(name: string, make: () => T): T {
    const check = this.#check(name)
    try {
      const value = make()
      this.#passed.push(name)
      return value
    } catch (error) {
      throw rejectionOf(check, error, this.#passed)
    }
  }

  /** As `make`, for a check that waits for a collateral source or for the cryptography thread pool. */
  async makeAsync<T>(name: string, make: () => Promise<T>): Promise<T> {
    const check = this.#check(name)
    try {
      const value = await make()
      this.#passed.push(name)
      return value
    } catch (error) {
      throw rejectionOf(check, error, this.#passed)
    }
  }

  /**
   * As `make`, for a check whose failure only has to be known: gives it instead of rejecting, and the name is not among those
   * that passed. A check that could not be made rejects here, too.
   */
  attempt(name: string, make: () => void): CheckFailure | undefined {
    try {
      this.make(name, make)
      return undefined
    } catch (error) {
      if (error instanceof EvidenceRejected && error.cause instanceof CheckFailure) return error.cause
      throw error
    }
  }

  #check(name: string): Check {
    const check = this.#checks.get(name)
    if (check === undefined) throw new TypeError(`no check named ${name} in this verifier`)
    return check
  }
}

function rejectionOf(check: Check, error: unknown, passed: readonly string[]): EvidenceRejected {
  if (error instanceof EvidenceRejected) return error
  if (error instanceof CheckFailure) {
    return new EvidenceRejected(error.code, check.name, error.message, {
      cause: error,
      passed,
      outage: error.outage,
    })
  }
  // The list of codes is never empty; the fallback only satisfies the type.
  const code = check.codes[0] ?? 'EVIDENCE_MALFORMED'
  return new EvidenceRejected(code, check.name, 'the check could not be made', { cause: error, passed })
}
