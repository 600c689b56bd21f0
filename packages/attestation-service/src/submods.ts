import type { CompiledPolicy } from '@passport-kbs/policy'
import type { Tee } from '@passport-kbs/protocol'
import { annotateEvidence } from './annotated-evidence.ts'
import { type AppraisalContext, appraise } from './appraisal.ts'
import type { Appraisal } from './ear.ts'
import type { PolicyStore } from './policy-store.ts'
import type { Attester } from './verification.ts'

/** One entry of a token's `submods`. */
export interface Submod {
  /** Class and number: `cpu0`, `gpu1` (spec 02 §2.10). */
  readonly name: string
  readonly tee: Tee
  readonly appraisal: Appraisal
  /** Names of the checks that the evidence passed. */
  readonly passedChecks: readonly string[]
}

/** With what attesters are appraised. */
export interface SubmodContext extends AppraisalContext {
  readonly policies: PolicyStore
  /** Without class. */
  readonly policyId: string
  readonly verboseToken: boolean
}

/** Appraises each attester with the policy of its class, and numbers them within their classes in the order given. */
export async function appraiseAttesters(
  attesters: readonly Attester[],
  context: SubmodContext,
): Promise<readonly Submod[]> {
  const counts = new Map<string, number>()
  const policies = new Map<string, CompiledPolicy>()
  const submods: Submod[] = []
  for (const { evidence, initData, runtimeDataClaims } of attesters) {
    const { tee, teeClass, claims, passed } = evidence
    const count = counts.get(teeClass) ?? 0
    counts.set(teeClass, count + 1)
    const storedId = `${context.policyId}_${teeClass}`
    // one text for all of a class, even if it is replaced meanwhile
    const compiled = policies.get(storedId) ?? (await context.policies.compiled(storedId))
    policies.set(storedId, compiled)
    const annotated = annotateEvidence(claims, {
      tee,
      initDataClaims: initData.claims,
      runtimeDataClaims,
      verboseToken: context.verboseToken,
    })
    const appraisal = await appraise(annotated, { id: context.policyId, storedId, compiled }, context)
    submods.push({ name: `${teeClass}${count}`, tee, appraisal, passedChecks: passed })
  }
  return submods
}
