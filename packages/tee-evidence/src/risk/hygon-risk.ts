/** What an operator may refuse of genuine Hygon platforms. */
import { fail } from '../rejection.ts'
import { type RiskAppraisal, type RiskOptions, type RiskRule, riskAppraisal } from './risk-rule.ts'

export interface HygonRiskRules extends RiskOptions {
  /** Least firmware build; a V1 report names none, so that the rule fails. */
  readonly minBuild?: number
  /**
   * Serial numbers as in the claim `serial_number`. No signature covers a serial number: HSK and CEK of one that is listed
   * are taken from the certificate source, not from the evidence, so that the report must be signed under that chip.
   */
  readonly allowedChipIds?: readonly string[]
}

/** What the verifier has found out about a platform when it asks the rules. */
export interface HygonPlatform {
  readonly chipId: string
  /** Of V2 reports. */
  readonly build: number | undefined
}

export function hygonRisk(rules: HygonRiskRules): RiskAppraisal<HygonPlatform> {
  return riskAppraisal(
    [
      rules.minBuild === undefined ? undefined : minimumBuild(rules.minBuild),
      rules.allowedChipIds && allowedChip(rules.allowedChipIds),
    ],
    rules,
  )
}

function minimumBuild(minimum: number): RiskRule<HygonPlatform> {
  return {
    name: 'minimum-tcb',
    code: 'TCB_BELOW_MINIMUM',
    protects: 'Firmware with published vulnerabilities would be trusted.',
    judge({ build }) {
      if (build === undefined) fail('TCB_BELOW_MINIMUM', 'a V1 report names no firmware build')
      if (build < minimum)
        fail('TCB_BELOW_MINIMUM', `firmware build ${build}; at least ${minimum} is required`)
    },
  }
}

function allowedChip(chipIds: readonly string[]): RiskRule<HygonPlatform> {
  const allowed = new Set(chipIds)
  return {
    name: 'allowed-chip',
    code: 'CHIP_NOT_ALLOWED',
    protects:
      'Any genuine machine in the world, the attacker’s own included, could stand in for those of the operator.',
    judge({ chipId }) {
      if (!allowed.has(chipId)) fail('CHIP_NOT_ALLOWED', 'the chip is not on the list')
    },
  }
}
