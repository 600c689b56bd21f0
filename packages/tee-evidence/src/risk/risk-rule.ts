import type { JsonObject } from '@passport-kbs/protocol'
import type { RejectionCode } from '../rejection.ts'
import type { Check, CheckRun } from '../verifier.ts'

/** What an operator has against genuine evidence. `Facts` is all that it looks at, and all of that is authenticated. */
export interface RiskRule<Facts> {
  readonly name: string
  readonly code: RejectionCode
  /** One sentence: what an attacker gains where the rule is missing. */
  readonly protects: string
  /** Throws `CheckFailure` with `code`. `now` is the time of the verification. */
  judge(facts: Facts, now: Date): void
}

/** What the rules of all platform families have in common. */
export interface RiskOptions {
  /** True: what a rule finds does not reject but is listed in the claim `ext.risk`. */
  readonly flagOnly?: boolean
}

/** The rules of one verifier, ready for use. */
export interface RiskAppraisal<Facts> {
  /** For the verifier's own list; empty where no rule is set. */
  readonly checks: readonly Check[]
  /**
   * Makes the checks. Gives what belongs into the claim `ext`: with `flagOnly` the list `risk` of rules that have found
   * something, empty where none has, otherwise nothing.
   */
  appraise(run: CheckRun, facts: Facts, now: Date): JsonObject
}

/** Makes an appraisal of the rules that are set. */
export function riskAppraisal<Facts>(
  rules: readonly (RiskRule<Facts> | undefined)[],
  { flagOnly = false }: RiskOptions,
): RiskAppraisal<Facts> {
  const set = rules.filter((rule) => rule !== undefined)
  const checks = set.map(
    ({ name, code, protects }): Check => ({ name, source: 'docs/risk-rules.md', codes: [code], protects }),
  )
  return {
    checks,
    appraise(run, facts, now) {
      if (!flagOnly) for (const rule of set) run.make(rule.name, () => rule.judge(facts, now))
      if (!flagOnly || set.length === 0) return {}
      const found = set.filter((rule) => run.attempt(rule.name, () => rule.judge(facts, now)) !== undefined)
      return { risk: found.map(({ name }) => name) }
    },
  }
}

/** Claims with `found`, what an appraisal gave, under the key `ext` beside what is there. */
export function withRisk(claims: JsonObject, found: JsonObject): JsonObject {
  if (Object.keys(found).length === 0) return claims
  const { ext } = claims
  const known = typeof ext === 'object' && ext !== null && !Array.isArray(ext) ? (ext as JsonObject) : {}
  return { ...claims, ext: { ...known, ...found } }
}
