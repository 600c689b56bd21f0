/** What an operator may refuse of genuine SEV-SNP platforms, for `snp` and `az-snp-vtpm`. */
import { encodeHex } from '@passport-kbs/protocol'
import type { AmdGeneration } from '../amd/generation.ts'
import type { TcbComponent, TcbVersion } from '../amd/tcb-version.ts'
import { fail } from '../rejection.ts'
import { requireAge } from './age.ts'
import { type RiskAppraisal, type RiskOptions, type RiskRule, riskAppraisal } from './risk-rule.ts'

/** Lowest accepted numbers; a component that is not named is not looked at. */
export type MinimumTcb = { readonly [component in TcbComponent]?: number }

export interface AmdRiskRules extends RiskOptions {
  readonly refusedProducts?: readonly AmdGeneration[]
  /** A generation that is not named is not looked at. */
  readonly minTcb?: { readonly [generation in AmdGeneration]?: MinimumTcb }
  /** Hexadecimal: CHIP_ID as in the claim `chip_id`, 64 bytes; of a Turin also its 8 bytes alone. */
  readonly allowedChipIds?: readonly string[]
  /** Of the endorsement key's certificate, since its notBefore. */
  readonly maxCertificateAgeDays?: number
  /** Of AMD's revocation list, since its thisUpdate; without a list the rule fails. */
  readonly maxCrlAgeDays?: number
}

/** What a verifier has found out about a platform when it asks the rules. */
export interface AmdPlatform {
  readonly generation: AmdGeneration
  readonly reportedTcb: TcbVersion
  /** 64 bytes. */
  readonly chipId: Uint8Array
  readonly certificateIssued: Date
  /** thisUpdate of the list in use; undefined where there was none. */
  readonly crlIssued: Date | undefined
}

/** @throws TypeError for a chip id that cannot be one: a mistake of the operator */
export function amdRisk(rules: AmdRiskRules): RiskAppraisal<AmdPlatform> {
  return riskAppraisal(
    [
      rules.refusedProducts && refusedProduct(rules.refusedProducts),
      rules.minTcb && minimumTcb(rules.minTcb),
      rules.allowedChipIds && allowedChip(rules.allowedChipIds),
      rules.maxCertificateAgeDays === undefined ? undefined : certificateAge(rules.maxCertificateAgeDays),
      rules.maxCrlAgeDays === undefined ? undefined : crlAge(rules.maxCrlAgeDays),
    ],
    rules,
  )
}

function refusedProduct(refused: readonly AmdGeneration[]): RiskRule<AmdPlatform> {
  return {
    name: 'refused-product',
    code: 'PRODUCT_REFUSED',
    protects: 'Processors with a known flaw that firmware cannot mend would be trusted.',
    judge({ generation }) {
      if (refused.includes(generation)) fail('PRODUCT_REFUSED', `processors of ${generation} are refused`)
    },
  }
}

function minimumTcb(minimum: NonNullable<AmdRiskRules['minTcb']>): RiskRule<AmdPlatform> {
  return {
    name: 'minimum-tcb',
    code: 'TCB_BELOW_MINIMUM',
    protects: 'Firmware with published vulnerabilities would be trusted.',
    judge({ generation, reportedTcb }) {
      for (const [component, least] of Object.entries(minimum[generation] ?? {})) {
        const reported = reportedTcb[component as TcbComponent] ?? -1
        if (reported < least) {
          fail(
            'TCB_BELOW_MINIMUM',
            `${component} ${reported} of ${generation}; at least ${least} is required`,
          )
        }
      }
    },
  }
}

function allowedChip(chipIds: readonly string[]): RiskRule<AmdPlatform> {
  const allowed = new Set(chipIds.map(fullChipId))
  return {
    name: 'allowed-chip',
    code: 'CHIP_NOT_ALLOWED',
    protects:
      'Any genuine machine in the world, the attacker’s own included, could stand in for those of the operator.',
    judge({ chipId }) {
      // hosts that hand out VLEKs mask the chip: such a report says nothing about which one it is
      const masked = chipId.every((byte) => byte === 0)
      if (masked) fail('CHIP_NOT_ALLOWED', 'the report names no chip')
      if (!allowed.has(encodeHex(chipId))) fail('CHIP_NOT_ALLOWED', 'the chip is not on the list')
    },
  }
}

/** Turin fills the 8 bytes of its id with zeros. */
function fullChipId(text: string): string {
  if (!/^(?:[0-9a-f]{16}|[0-9a-f]{128})$/i.test(text)) throw new TypeError(`${text} is not a chip id of AMD`)
  return text.toLowerCase().padEnd(128, '0')
}

function certificateAge(maxDays: number): RiskRule<AmdPlatform> {
  return {
    name: 'certificate-age',
    code: 'CERT_TOO_OLD',
    protects: 'A key that leaked long ago would be trusted until its certificate expires.',
    judge({ certificateIssued }, now) {
      requireAge('the certificate of the endorsement key', certificateIssued, now, maxDays, 'CERT_TOO_OLD')
    },
  }
}

function crlAge(maxDays: number): RiskRule<AmdPlatform> {
  return {
    name: 'crl-age',
    code: 'CRL_TOO_OLD',
    protects: 'Whoever withholds the current revocation list could hide what it revokes.',
    judge({ crlIssued }, now) {
      if (crlIssued === undefined) fail('CRL_TOO_OLD', 'no revocation list was read')
      requireAge('the revocation list', crlIssued, now, maxDays, 'CRL_TOO_OLD')
    },
  }
}
