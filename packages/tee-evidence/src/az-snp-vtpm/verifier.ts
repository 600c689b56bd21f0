/** `az-snp-vtpm`: an Azure confidential VM on SEV-SNP, measured by its vTPM (spec 03 §9). */
import type { JsonValue } from '@passport-kbs/protocol'
import { ChainStore, readCertificate } from '../amd/chain.ts'
import type { EndorsementSource } from '../amd/endorsement-source.ts'
import { type AmdGeneration, generationOf } from '../amd/generation.ts'
import type { SnpPolicy } from '../amd/policy.ts'
import {
  checkDebugGate,
  checkReportVersion,
  checkSignatureAlgorithm,
  parseReport,
  type SnpReport,
  signingKeyOf,
} from '../amd/report.ts'
import { checkReportSignature } from '../amd/report-signature.ts'
import { RevocationCheck } from '../amd/revocation.ts'
import { type AmdRoots, amdRoots } from '../amd/roots.ts'
import { snpCheck } from '../amd/snp-checks.ts'
import { decodeTcbVersion } from '../amd/tcb-version.ts'
import { checkChipId, checkReportedTcb } from '../amd/vek-profile.ts'
import { fail } from '../rejection.ts'
import { dayMs } from '../risk/age.ts'
import { amdRisk } from '../risk/amd-risk.ts'
import { withRisk } from '../risk/risk-rule.ts'
import {
  type Check,
  CheckRun,
  type VerificationRequest,
  type VerifiedEvidence,
  type Verifier,
  verifiedEvidence,
} from '../verifier.ts'
import { type AzureEvidenceVersion, type VtpmState, verifyVtpm, vtpmChecks } from '../vtpm/azure-evidence.ts'
import { checkInitDataPcr } from '../vtpm/tpm-quote.ts'
import { checkUserData, checkVariableDataBinding } from '../vtpm/variable-data.ts'
import { azureSnpClaims, azureSnpExtendedClaims } from './claims.ts'
import { type AzureSnpEvidence, parseAzureSnpEvidence, vcekDerOf } from './evidence.ts'

export interface AzureSnpVtpmPolicy extends Omit<SnpPolicy, 'allowedVmpl'> {
  /** The oldest evidence format that is taken. Default 0, as upstream; 2 also binds the HCL `user-data`. */
  readonly minEvidenceVersion?: AzureEvidenceVersion
}

export interface AzureSnpVtpmVerifierOptions {
  /** Default: AMD's pinned roots. */
  readonly roots?: AmdRoots
  /** Asked for CRLs only: this evidence always brings its VCEK. Default: none. */
  readonly endorsementSources?: readonly EndorsementSource[]
  readonly policy?: AzureSnpVtpmPolicy
}

const own = {
  hardwareReport: {
    name: 'hardware-report',
    source: 'spec 03 §3.2, §9.2 step 5',
    codes: ['REPORT_MALFORMED', 'REPORT_RESERVED_NONZERO'],
    protects: 'Bytes without a defined meaning could carry some later.',
  },
  variableData: {
    name: 'variable-data',
    source: 'spec 03 §7, §9.2 step 5',
    codes: ['VAR_DATA_MISMATCH'],
    protects: 'The attestation key of a TPM outside the TEE could be substituted.',
  },
  userData: {
    name: 'user-data',
    source: 'spec 03 §9.2 step 6',
    codes: ['HCL_MALFORMED', 'USER_DATA_MISMATCH'],
    protects: 'A quote could be combined with the hardware report of an earlier session.',
  },
  vcek: {
    name: 'vcek-format',
    source: 'spec 03 §9.2 step 7',
    codes: ['CERT_MALFORMED'],
    protects: 'Ambiguous certificates could be read one way here and another way elsewhere.',
  },
  initData: {
    name: 'init-data',
    source: 'spec 03 §8.5, §9.2 step 12',
    codes: ['INIT_DATA_MISMATCH', 'INPUT_INVALID'],
    protects: 'A guest could be started with other init data than it shows.',
  },
} as const satisfies Readonly<Record<string, Check>>

const ownChecks: readonly Check[] = [
  ...vtpmChecks,
  own.hardwareReport,
  own.variableData,
  own.userData,
  own.vcek,
  snpCheck.version,
  snpCheck.product,
  snpCheck.signatureAlgorithm,
  snpCheck.signingKey,
  snpCheck.chain,
  snpCheck.validity,
  snpCheck.profile,
  snpCheck.chipId,
  snpCheck.tcb,
  snpCheck.signature,
  snpCheck.vmpl,
  own.initData,
  snpCheck.debug,
  snpCheck.revocation,
]

/**
 * Verifies `az-snp-vtpm` evidence. Roots are prepared here, once. As in `snp`, revocation comes last, because it may
 * need the network.
 */
export function createAzureSnpVtpmVerifier(options: AzureSnpVtpmVerifierOptions = {}): Verifier {
  const { roots = amdRoots, endorsementSources = [], policy = {} } = options
  const chains = new ChainStore(roots)
  const { risk: rules = {} } = policy
  const maxCrlAgeMs = (rules.maxCrlAgeDays ?? Number.POSITIVE_INFINITY) * dayMs
  const revocation = new RevocationCheck(policy.crlPolicy ?? 'off', endorsementSources, maxCrlAgeMs)
  const risk = amdRisk(rules)
  const checks = [...ownChecks, ...risk.checks]
  return {
    tee: 'az-snp-vtpm',
    checks,
    async verify(value: JsonValue, request: VerificationRequest): Promise<readonly VerifiedEvidence[]> {
      const run = new CheckRun(checks)
      const parse = () => parseAzureSnpEvidence(value)
      const { evidence, state } = verifyVtpm(run, parse, 'snp', policy.minEvidenceVersion ?? 0, request)
      const report = checkHardwareBinding(run, evidence, state)
      const vcek = run.make('vcek-format', () => {
        const der = vcekDerOf(evidence.vcek)
        readCertificate(der)
        return der
      })
      const generation = checkReportHeader(run, report)
      const { chain, profile } = checkVcek(run, chains, generation, vcek, request.now, policy)
      run.make('chip-id', () => checkChipId(profile, report, policy.allowMaskedChipId ?? false))
      run.make('reported-tcb', () => checkReportedTcb(profile, report, generation))
      run.make('report-signature', () => checkReportSignature(report, chain.key()))
      run.make('vmpl', () => {
        if (report.vmpl !== 0) fail('VMPL_UNSUPPORTED', `VMPL ${report.vmpl}; the paravisor runs at 0`)
      })
      const { expectedInitDataDigest: digest } = request
      if (digest !== undefined) run.make('init-data', () => checkInitDataPcr(state.pcrs, digest))
      if (policy.rejectDebug === true) run.make('debug-gate', () => checkDebugGate(report))
      const crl = revocation.enabled
        ? await run.makeAsync('certificate-revocation', () => revocation.check(chain, request.now))
        : undefined
      const platform = {
        generation,
        reportedTcb: decodeTcbVersion(report.reportedTcb, generation),
        chipId: report.chipId,
        certificateIssued: chain.leaf.notBefore,
        crlIssued: crl?.thisUpdate,
      }
      const found = risk.appraise(run, platform, request.now)
      const claims = azureSnpClaims(report, generation, state)
      if (policy.extendedClaims === true) {
        claims.ext = azureSnpExtendedClaims(report, generation, profile, evidence.version, state)
      }
      return [
        verifiedEvidence({
          tee: 'az-snp-vtpm',
          teeClass: 'cpu',
          claims: withRisk(claims, found),
          passed: run.passed,
        }),
      ]
    },
  }
}

/** Steps 5 and 6: the variable data, and so the attestation key, belong to the hardware report. */
function checkHardwareBinding(run: CheckRun, evidence: AzureSnpEvidence, state: VtpmState): SnpReport {
  const report = run.make('hardware-report', () => parseReport(state.hardwareReport))
  run.make('variable-data', () => checkVariableDataBinding(state.variableDataBytes, report.reportData))
  if (evidence.version === 2) {
    run.make('user-data', () => checkUserData(state.variableData, state.expectedReportData))
  }
  return report
}

/** Step 8. */
function checkReportHeader(run: CheckRun, report: SnpReport) {
  run.make('report-version', () => checkReportVersion(report.version))
  const generation = run.make('product', () => generationOf(report.cpuId))
  run.make('signature-algorithm', () => checkSignatureAlgorithm(report.signatureAlgorithm))
  run.make('signing-key', () => {
    if (signingKeyOf(report.keyInfo) !== 'vcek') fail('SIGNING_KEY_UNSUPPORTED', 'VLEK on Azure')
  })
  return generation
}

/** Step 9, dates included. */
function checkVcek(
  run: CheckRun,
  chains: ChainStore,
  generation: AmdGeneration,
  vcek: Uint8Array,
  now: Date,
  policy: AzureSnpVtpmPolicy,
) {
  const material = { leaf: vcek }
  const chain = run.make('certificate-chain', () => {
    const opened = chains.open(generation, 'vcek', material)
    opened.checkSignatures()
    return opened
  })
  if (policy.certValidity !== 'ignore') run.make('certificate-validity', () => chain.checkValidity(now))
  const profile = run.make('certificate-profile', () => chain.profile())
  chains.keep(chain, material)
  return { chain, profile }
}
