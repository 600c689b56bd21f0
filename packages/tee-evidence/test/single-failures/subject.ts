import type { JsonValue } from '@passport-kbs/protocol'
import type { VerificationRequest, Verifier } from '../../src/index.ts'

/** One verification; made only when it is needed, as many have certificates to sign. */
export interface Scenario {
  /** What is wrong, in words of the defect or of the request. */
  readonly name: string
  make(): Attempt
}

/** What one verification needs. */
export interface Attempt {
  readonly verifier: Verifier
  readonly evidence: JsonValue
  readonly request: VerificationRequest
}

/** A verifier with every optional check switched on, and all ways in which evidence for it can fail one check. */
export interface Subject {
  /** Makes every check of the verifier, and passes. */
  readonly genuine: Attempt
  /** Each is `genuine` but for one thing. */
  readonly failures: readonly Scenario[]
}

/** Makes scenarios that are `genuine` but for the members that `change` gives. */
export function scenariosOf(genuine: Attempt) {
  return (name: string, change: () => Partial<Attempt>): Scenario => ({
    name,
    make: () => ({ ...genuine, ...change() }),
  })
}
