/** What an operator may refuse of genuine Intel platforms, for `tdx`, `az-tdx-vtpm` and `sgx`. */
import { encodeHex } from '@passport-kbs/protocol'
import type { TcbStanding } from '../intel/tcb-level.ts'
import { fail } from '../rejection.ts'
import { requireAge } from './age.ts'
import { type RiskAppraisal, type RiskOptions, type RiskRule, riskAppraisal } from './risk-rule.ts'

/** Every status that a platform which passes verification can have. */
export const intelTcbStatuses = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'TDRelaunchAdvised',
  'TDRelaunchAdvisedConfigurationNeeded',
] as const

export type IntelTcbStatus = (typeof intelTcbStatuses)[number]

export interface IntelRiskRules extends RiskOptions {
  /** FMSPCs, 12 hex digits each. */
  readonly refusedProducts?: readonly string[]
  /** Which `tcb_status` and `tcb_status_current` are accepted. */
  readonly acceptedTcbStatus?: readonly IntelTcbStatus[]
  /** `YYYY-MM-DD`: the earliest `tcb_date` and `tcb_date_current`. */
  readonly minTcbDate?: string
  /** The least `tcb_eval_num`: of the TCB info and of the QE identity. */
  readonly minTcbEvaluationNumber?: number
  /** Platform instance ids, 32 hex digits, in the order of the certificate or in that of the claim of `tdx` and `sgx`. */
  readonly allowedChipIds?: readonly string[]
  /** Of the PCK certificate, since its notBefore. */
  readonly maxCertificateAgeDays?: number
  /** Of the PCK revocation list, since its thisUpdate. Intel renews that of the root CA yearly; it is not looked at. */
  readonly maxCrlAgeDays?: number
  /** Of TCB info and QE identity, since their issueDate. */
  readonly maxCollateralAgeDays?: number
}

/** What DCAP has found out about a platform when it asks the rules. */
export interface IntelPlatform {
  /** 12 lower-case hex digits. */
  readonly fmspc: string
  /** 16 bytes in the order of the certificate; undefined under the Processor CA. */
  readonly instanceId: Uint8Array | undefined
  readonly launch: Pick<TcbStanding, 'status' | 'date'>
  readonly current: Pick<TcbStanding, 'status' | 'date'>
  readonly evaluationNumber: number
  readonly certificateIssued: Date
  readonly pckCrlIssued: Date
  readonly tcbInfoIssued: Date
  readonly qeIdentityIssued: Date
}

/** @throws TypeError for a text that cannot be what it is meant for: a mistake of the operator */
export function intelRisk(rules: IntelRiskRules): RiskAppraisal<IntelPlatform> {
  const { minTcbEvaluationNumber, maxCertificateAgeDays, maxCrlAgeDays, maxCollateralAgeDays } = rules
  return riskAppraisal(
    [
      rules.refusedProducts && refusedProduct(rules.refusedProducts),
      rules.acceptedTcbStatus && tcbStatus(rules.acceptedTcbStatus),
      rules.minTcbDate === undefined ? undefined : tcbDate(rules.minTcbDate),
      minTcbEvaluationNumber === undefined ? undefined : tcbEvaluationNumber(minTcbEvaluationNumber),
      rules.allowedChipIds && allowedChip(rules.allowedChipIds),
      maxCertificateAgeDays === undefined ? undefined : certificateAge(maxCertificateAgeDays),
      maxCrlAgeDays === undefined ? undefined : crlAge(maxCrlAgeDays),
      maxCollateralAgeDays === undefined ? undefined : collateralAge(maxCollateralAgeDays),
    ],
    rules,
  )
}

function refusedProduct(fmspcs: readonly string[]): RiskRule<IntelPlatform> {
  const refused = new Set(fmspcs.map((text) => hexOf(text, 6, 'an FMSPC')))
  return {
    name: 'refused-product',
    code: 'PRODUCT_REFUSED',
    protects: 'Processors with a known flaw that firmware cannot mend would be trusted.',
    judge({ fmspc }) {
      if (refused.has(fmspc)) fail('PRODUCT_REFUSED', `processors with FMSPC ${fmspc} are refused`)
    },
  }
}

function tcbStatus(accepted: readonly string[]): RiskRule<IntelPlatform> {
  return {
    name: 'tcb-status',
    code: 'TCB_STATUS_REFUSED',
    protects: 'Platforms that Intel calls vulnerable would be trusted.',
    judge({ launch, current }) {
      const refused = [launch, current].find(({ status }) => !accepted.includes(status))
      if (refused !== undefined) fail('TCB_STATUS_REFUSED', `TCB status ${refused.status} is not accepted`)
    },
  }
}

function tcbDate(minimum: string): RiskRule<IntelPlatform> {
  if (!/^\d{4}-\d\d-\d\d$/.test(minimum) || Number.isNaN(Date.parse(minimum)))
    throw new TypeError(`${minimum} is not a date such as 2026-01-31`)
  return {
    name: 'tcb-date',
    code: 'TCB_DATE_TOO_OLD',
    protects: 'A TCB older than the fix of a vulnerability would be trusted.',
    judge({ launch, current }) {
      // texts of the form YYYY-MM-DD… sort in the order of time; one without a date sorts before all
      const old = [launch, current].find(({ date }) => date < minimum)
      if (old !== undefined)
        fail('TCB_DATE_TOO_OLD', `TCB of ${old.date}; ${minimum} is the earliest accepted`)
    },
  }
}

function tcbEvaluationNumber(minimum: number): RiskRule<IntelPlatform> {
  return {
    name: 'tcb-evaluation-number',
    code: 'TCB_EVALUATION_TOO_OLD',
    protects: 'Platforms would be judged as before Intel’s latest TCB recovery.',
    judge({ evaluationNumber }) {
      if (evaluationNumber < minimum) {
        fail(
          'TCB_EVALUATION_TOO_OLD',
          `TCB evaluation data ${evaluationNumber}; at least ${minimum} is required`,
        )
      }
    },
  }
}

function allowedChip(instanceIds: readonly string[]): RiskRule<IntelPlatform> {
  const allowed = new Set(instanceIds.map((text) => hexOf(text, 16, 'a platform instance id')))
  return {
    name: 'allowed-chip',
    code: 'CHIP_NOT_ALLOWED',
    protects:
      'Any genuine machine in the world, the attacker’s own included, could stand in for those of the operator.',
    judge({ instanceId }) {
      if (instanceId === undefined) fail('CHIP_NOT_ALLOWED', 'the platform has no platform instance id')
      if (![instanceId, instanceId.toReversed()].some((order) => allowed.has(encodeHex(order))))
        fail('CHIP_NOT_ALLOWED', 'the platform is not on the list')
    },
  }
}

function certificateAge(maxDays: number): RiskRule<IntelPlatform> {
  return {
    name: 'certificate-age',
    code: 'CERT_TOO_OLD',
    protects: 'A key that leaked long ago would be trusted until its certificate expires.',
    judge({ certificateIssued }, now) {
      requireAge('the PCK certificate', certificateIssued, now, maxDays, 'CERT_TOO_OLD')
    },
  }
}

function crlAge(maxDays: number): RiskRule<IntelPlatform> {
  return {
    name: 'crl-age',
    code: 'CRL_TOO_OLD',
    protects: 'Whoever withholds the current revocation list could hide what it revokes.',
    judge({ pckCrlIssued }, now) {
      requireAge('the PCK revocation list', pckCrlIssued, now, maxDays, 'CRL_TOO_OLD')
    },
  }
}

function collateralAge(maxDays: number): RiskRule<IntelPlatform> {
  return {
    name: 'collateral-age',
    code: 'COLLATERAL_TOO_OLD',
    protects: 'Whoever withholds current collateral could hide what Intel has found out since.',
    judge({ tcbInfoIssued, qeIdentityIssued }, now) {
      requireAge('the TCB info', tcbInfoIssued, now, maxDays, 'COLLATERAL_TOO_OLD')
      requireAge('the QE identity', qeIdentityIssued, now, maxDays, 'COLLATERAL_TOO_OLD')
    },
  }
}

function hexOf(text: string, bytes: number, what: string): string {
  if (!new RegExp(`^[0-9a-f]{${2 * bytes}}$`, 'i').test(text)) throw new TypeError(`${text} is not ${what}`)
  return text.toLowerCase()
}
