import type { AmdRiskRules } from '../risk/amd-risk.ts'
import type { CrlPolicy } from './revocation.ts'

/** What an operator may decide about SEV-SNP evidence. The defaults are the strict ones, CRLs aside. */
export interface SnpPolicy {
  /** `enforce`: ARK, intermediate and leaf must be valid now. Default `enforce`. */
  readonly certValidity?: 'enforce' | 'ignore'
  /** Default `off`, as upstream. */
  readonly crlPolicy?: CrlPolicy
  /** VMPLs from which a report is taken; `snp` only. Default `[0]`. */
  readonly allowedVmpl?: readonly number[]
  /** Takes VCEK-signed reports with a zero CHIP_ID. Default false. */
  readonly allowMaskedChipId?: boolean
  /** Rejects guests whose policy allows debugging. Default false: left to the appraisal policy. */
  readonly rejectDebug?: boolean
  /** Adds the claim `ext` with everything else the evidence proves. Default false: exactly upstream's claims. */
  readonly extendedClaims?: boolean
  /** What to refuse, or to flag, of genuine platforms. Default: nothing. */
  readonly risk?: AmdRiskRules
}
