/** `snp`: a SEV-SNP attestation report and the certificate chain of its key (spec 03 §6). */
import type { JsonValue } from '@passport-kbs/protocol'
import { ChainStore } from '../amd/chain.ts'
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
import { extendedClaims, snpClaims } from './claims.ts'
import { type Endorsement, fetchedEndorsement, suppliedEndorsement } from './endorsement.ts'
import { checkTcbForm, encodeReport, parseSnpEvidence, type SnpEvidence } from './evidence.ts'

export interface SnpVerifierOptions {
  /** Default: AMD's pinned roots. */
  readonly roots?: AmdRoots
  /** Asked in order when the evidence brings no certificates, and for CRLs. Default: none. */
  readonly endorsementSources?: readonly EndorsementSource[]
  readonly policy?: SnpPolicy
}

const own = {
  format: {
    name: 'evidence-format',
    source: 'spec 03 §2.4, §3.1',
    codes: ['EVIDENCE_MALFORMED'],
    protects: 'Ambiguous input could be read one way here and another way elsewhere.',
  },
  tcbForm: {
    name: 'tcb-form',
    source: 'spec 03 §3.6',
    codes: ['EVIDENCE_MALFORMED'],
    protects: 'A component outside the signed bytes could be passed off as reported.',
  },
  endorsement: {
    name: 'endorsement-key',
    source: 'spec 03 §5',
    codes: [
      'VEK_UNAVAILABLE',
      'CERT_CHAIN_INCOMPLETE',
      'SIGNING_KEY_MISMATCH',
      'CERT_MALFORMED',
      'PRODUCT_UNSUPPORTED',
    ],
    protects: 'A key of one class could be presented as the other, hiding who may hold it.',
  },
  reportData: {
    name: 'report-data',
    source: 'spec 03 §6.1 step 11',
    codes: ['INPUT_INVALID', 'REPORT_DATA_MISMATCH'],
    protects: 'A recorded report could be replayed, or used for another key.',
  },
  initData: {
    name: 'init-data',
    source: 'spec 03 §6.1 step 12',
    codes: ['INPUT_INVALID', 'INIT_DATA_MISMATCH'],
    protects: 'A guest could be started with other init data than it shows.',
  },
} as const satisfies Readonly<Record<string, Check>>

const ownChecks: readonly Check[] = [
  own.format,
  snpCheck.version,
  snpCheck.product,
  own.tcbForm,
  snpCheck.signatureAlgorithm,
  snpCheck.signingKey,
  own.endorsement,
  snpCheck.chain,
  snpCheck.validity,
  snpCheck.profile,
  snpCheck.signature,
  snpCheck.chipId,
  snpCheck.tcb,
  snpCheck.vmpl,
  own.reportData,
  own.initData,
  snpCheck.debug,
  snpCheck.revocation,
]

/**
 * Verifies `snp` evidence. Roots are prepared here, once; throws `TypeError` when they are not AMD-shaped chains.
 * Deviation from the numbering of spec 03 §6.1: revocation comes last, because it may need the network, which
 * evidence must not be able to cause before everything else about it is right.
 */
export function createSnpVerifier(options: SnpVerifierOptions = {}): Verifier {
  const { roots = amdRoots, endorsementSources = [], policy = {} } = options
  const chains = new ChainStore(roots)
  const { risk: rules = {} } = policy
  const maxCrlAgeMs = (rules.maxCrlAgeDays ?? Number.POSITIVE_INFINITY) * dayMs
  const revocation = new RevocationCheck(policy.crlPolicy ?? 'off', endorsementSources, maxCrlAgeMs)
  const risk = amdRisk(rules)
  const checks = [...ownChecks, ...risk.checks]
  return {
    tee: 'snp',
    checks,
    async verify(evidence: JsonValue, request: VerificationRequest): Promise<readonly VerifiedEvidence[]> {
      const run = new CheckRun(checks)
      const { parsed, generation, report, kind } = readEvidence(run, evidence)
      const bind = () => checkBindings(run, report, request, policy)
      const { certificates } = parsed
      // Evidence that fails a binding must not cause network or disk access.
      if (certificates === undefined) bind()
      const endorsement = await run.makeAsync('endorsement-key', async () =>
        certificates === undefined
          ? fetchedEndorsement(report, generation, kind, endorsementSources, chains)
          : suppliedEndorsement(certificates, generation, kind, chains),
      )
      const profile = checkCertificates(run, endorsement, request.now, policy)
      chains.keep(endorsement.chain, endorsement.material)
      run.make('report-signature', () => checkReportSignature(report, endorsement.chain.key()))
      run.make('chip-id', () => checkChipId(profile, report, policy.allowMaskedChipId ?? false))
      run.make('reported-tcb', () => checkReportedTcb(profile, report, generation))
      if (certificates !== undefined) bind()
      if (policy.rejectDebug === true) run.make('debug-gate', () => checkDebugGate(report))
      const crl = revocation.enabled
        ? await run.makeAsync('certificate-revocation', () =>
            revocation.check(endorsement.chain, request.now),
          )
        : undefined
      const platform = {
        generation,
        reportedTcb: decodeTcbVersion(report.reportedTcb, generation),
        chipId: report.chipId,
        certificateIssued: endorsement.chain.leaf.notBefore,
        crlIssued: crl?.thisUpdate,
      }
      const found = risk.appraise(run, platform, request.now)
      const claims = snpClaims(report, generation)
      if (policy.extendedClaims === true) claims.ext = extendedClaims(report, generation, profile)
      return [
        verifiedEvidence({
          tee: 'snp',
          teeClass: 'cpu',
          claims: withRisk(claims, found),
          passed: run.passed,
        }),
      ]
    },
  }
}

/** Steps 1 to 4: nothing here needs a certificate. */
function readEvidence(run: CheckRun, evidence: JsonValue) {
  const parsed: SnpEvidence = run.make('evidence-format', () => parseSnpEvidence(evidence))
  const fields = parsed.report
  run.make('report-version', () => checkReportVersion(fields.version))
  const generation: AmdGeneration = run.make('product', () => generationOf(fields.cpuId))
  const report: SnpReport = run.make('tcb-form', () => {
    checkTcbForm(fields, generation)
    return parseReport(encodeReport(fields, generation))
  })
  run.make('signature-algorithm', () => checkSignatureAlgorithm(report.signatureAlgorithm))
  const kind = run.make('signing-key', () => signingKeyOf(report.keyInfo))
  return { parsed, generation, report, kind }
}

function checkCertificates(run: CheckRun, { chain }: Endorsement, now: Date, policy: SnpPolicy) {
  run.make('certificate-chain', () => chain.checkSignatures())
  if (policy.certValidity !== 'ignore') run.make('certificate-validity', () => chain.checkValidity(now))
  return run.make('certificate-profile', () => chain.profile())
}

function checkBindings(
  run: CheckRun,
  report: SnpReport,
  request: VerificationRequest,
  policy: SnpPolicy,
): void {
  run.make('vmpl', () => {
    if (!(policy.allowedVmpl ?? [0]).includes(report.vmpl)) fail('VMPL_UNSUPPORTED', `VMPL ${report.vmpl}`)
  })
  const { expectedReportData: expected, expectedInitDataDigest: digest } = request
  if (expected !== undefined) run.make('report-data', () => checkReportData(report, expected))
  if (digest !== undefined) run.make('init-data', () => checkHostData(report, digest))
}

function checkReportData(report: SnpReport, expected: Uint8Array): void {
  if (expected.length < 1 || expected.length > 64) {
    fail('INPUT_INVALID', `expected report data of ${expected.length} bytes`)
  }
  const padded = Buffer.alloc(64)
  padded.set(expected)
  if (!padded.equals(report.reportData)) {
    fail('REPORT_DATA_MISMATCH', 'the report was not made for the expected report data')
  }
}

/** HOST_DATA has room for 32 bytes; the guest side cuts longer digests the same way. */
function checkHostData(report: SnpReport, digest: Uint8Array): void {
  if (![32, 48, 64].includes(digest.length)) {
    fail('INPUT_INVALID', `init-data digest of ${digest.length} bytes`)
  }
  if (Buffer.compare(digest.subarray(0, 32), report.hostData) !== 0) {
    fail('INIT_DATA_MISMATCH', 'HOST_DATA is not the expected init-data digest')
  }
}
