import type { JsonObject } from '@passport-kbs/protocol'
import { blamingSource, fail } from '../rejection.ts'
import { type IntelPlatform, type IntelRiskRules, intelRisk } from '../risk/intel-risk.ts'
import { withRisk } from '../risk/risk-rule.ts'
import type { Check, CheckRun } from '../verifier.ts'
import type { IntelRoot } from './certificate-chain.ts'
import {
  type CollateralAuthenticator,
  type CollateralSource,
  createCollateralAuthenticator,
  type QuoteCollateral,
  requireNotRevoked,
} from './collateral.ts'
import {
  type AuthenticCollateral,
  requireValidCollateral,
  summariseValidity,
  type ValidityClaims,
} from './collateral-validity.ts'
import { type DcapFindings, dcapClaims, tcbEvaluationNumber } from './dcap-claims.ts'
import { intelSgxRootCa } from './intel-root.ts'
import {
  type PckChain,
  type PckExtension,
  parsePckExtension,
  requireValidPckChain,
  verifyPckChain,
} from './pck-certificate.ts'
import { requireQeIdentity } from './qe-identity.ts'
import type { EnclaveQuote, TdQuote } from './quote.ts'
import { verifyAttestationKey, verifyQeReportSignature, verifyQuoteSignature } from './quote-signature.ts'
import { requireTdxMembers } from './tcb-info.ts'
import { evaluateTcb, relaunchStatus, requireTdxModule, type TcbStanding } from './tcb-level.ts'

/** A quote whose own signatures lead to the root; how its platform stands is still open. */
export interface AuthenticQuote {
  readonly quote: TdQuote | EnclaveQuote
  readonly chain: PckChain
  readonly pck: PckExtension
}

/** The part of verification that all quotes of Intel have in common (spec 04 chapters 4 to 6). */
export interface Dcap {
  /** Every check that the two methods make; a verifier puts them into its own list. */
  readonly checks: readonly Check[]
  /** Steps 3 to 7 of spec 04 §4.1: chain, extension, three signatures. No I/O. */
  authenticate(run: CheckRun, quote: TdQuote | EnclaveQuote, now: Date): AuthenticQuote
  /** Steps 8 to 15: collateral, identities, TCB; then the operator's risk rules. Gives the DCAP claims. */
  appraise(run: CheckRun, authentic: AuthenticQuote, now: Date): Promise<JsonObject>
}

export interface DcapOptions {
  readonly collateral: CollateralSource
  /** The trust anchor; Intel's unless a test says otherwise. */
  readonly root?: IntelRoot
  /** True: whatever has expired does not reject but sets the claim `collateral_expiration_status` to "1". */
  readonly reportExpired?: boolean
  /** What to refuse, or to flag, of genuine platforms. Default: nothing. */
  readonly risk?: IntelRiskRules
}

/** One instance serves all verifiers of a process: it remembers which collateral it has verified. */
export function createDcap({
  collateral: source,
  root = intelSgxRootCa,
  reportExpired = false,
  risk: rules = {},
}: DcapOptions): Dcap {
  const authenticator = createCollateralAuthenticator(root)
  const risk = intelRisk(rules)
  return {
    checks: [...dcapChecks, ...risk.checks],
    authenticate(run, quote, now) {
      const data = quote.signatureData
      const chain = run.make('pck-chain', () => verifyPckChain(data.pckChain, root))
      run.make('pck-validity', () => requireValidPckChain(chain, now, reportExpired))
      const pck = run.make('pck-extension', () => parsePckExtension(chain.leaf, chain.issuer.ca))
      run.make('qe-report-signature', () => verifyQeReportSignature(data, chain.leafKey))
      run.make('attestation-key-binding', () => verifyAttestationKey(data))
      run.make('attestation-key-signature', () => verifyQuoteSignature(quote.signedBytes, data))
      return { quote, chain, pck }
    },
    async appraise(run, authentic, now) {
      const { quote, chain, pck } = authentic
      const request = { tee: quote.tee, fmspc: pck.fmspc, issuer: chain.issuer }
      const served = await run.makeAsync('collateral-availability', () => source.collateralFor(request))
      const collateral = openCollateral(run, authenticator, served, chain)
      run.make('collateral-validity', () =>
        blamingSource(() => requireValidCollateral(collateral, now, reportExpired)),
      )
      run.make('revocation', () => requireNothingRevoked(chain, collateral))
      const { launch, current } = judgePlatform(run, authentic, collateral)
      const found = risk.appraise(run, platformOf(authentic, collateral, { launch, current }), now)
      const validity: ValidityClaims = summariseValidity(collateral, chain, now)
      const claims = dcapClaims({ launch, current, pck, collateral, validity, rootKeyId: root.keyId })
      return withRisk(claims, found)
    },
  }
}

/** What the risk rules look at. */
function platformOf(
  { chain, pck }: AuthenticQuote,
  collateral: AuthenticCollateral,
  standing: Pick<DcapFindings, 'launch' | 'current'>,
): IntelPlatform {
  const { tcbInfo, qeIdentity, pckCrl } = collateral
  return {
    ...standing,
    fmspc: pck.fmspc,
    instanceId: pck.platform?.instanceId,
    evaluationNumber: tcbEvaluationNumber(collateral),
    certificateIssued: chain.leaf.notBefore,
    pckCrlIssued: pckCrl.thisUpdate,
    tcbInfoIssued: new Date(tcbInfo.issueDate),
    qeIdentityIssued: new Date(qeIdentity.issueDate),
  }
}

function openCollateral(
  run: CheckRun,
  authenticator: CollateralAuthenticator,
  served: QuoteCollateral,
  { issuer }: PckChain,
): AuthenticCollateral {
  const open = <T>(check: string, make: () => T): T => run.make(check, () => blamingSource(make))
  const tcbInfo = open('tcb-info-signature', () => authenticator.tcbInfo(served.tcbInfo))
  const qeIdentity = open('qe-identity-signature', () => authenticator.qeIdentity(served.qeIdentity))
  const rootCaCrl = open('root-crl-signature', () => authenticator.rootCaCrl(served.rootCaCrl))
  const pckCrl = open('pck-crl-signature', () => authenticator.pckCrl(served.pckCrl, issuer))
  return {
    tcbInfo: open('tcb-info-version', () => tcbInfo.read()),
    tcbInfoSigner: tcbInfo.signer,
    qeIdentity: open('qe-identity-version', () => qeIdentity.read()),
    qeIdentitySigner: qeIdentity.signer,
    pckCrl,
    rootCaCrl,
  }
}

function requireNothingRevoked({ leaf, issuer }: PckChain, collateral: AuthenticCollateral): void {
  const { pckCrl, rootCaCrl } = collateral
  requireNotRevoked(issuer.certificate, rootCaCrl, 'PCK CA')
  requireNotRevoked(collateral.tcbInfoSigner, rootCaCrl, 'signer of the TCB info')
  requireNotRevoked(collateral.qeIdentitySigner, rootCaCrl, 'signer of the QE identity')
  requireNotRevoked(leaf, pckCrl, 'PCK')
}

function judgePlatform(
  run: CheckRun,
  { quote, pck }: AuthenticQuote,
  { tcbInfo, qeIdentity }: AuthenticCollateral,
): Pick<DcapFindings, 'launch' | 'current'> {
  run.make('tcb-info-identity', () => {
    const id = quote.tee === 'tdx' ? 'TDX' : 'SGX'
    if (tcbInfo.id !== id) fail('TCB_INFO_MISMATCH', `the TCB info is that of ${tcbInfo.id}, not ${id}`)
    if (tcbInfo.fmspc !== pck.fmspc) fail('TCB_INFO_MISMATCH', `FMSPC ${tcbInfo.fmspc}, not ${pck.fmspc}`)
    if (tcbInfo.pceId !== pck.pceId) fail('TCB_INFO_MISMATCH', `PCEID ${tcbInfo.pceId}, not ${pck.pceId}`)
    if (quote.tee === 'tdx') requireTdxMembers(tcbInfo)
  })
  const { qeReport } = quote.signatureData
  run.make('qe-identity', () => requireQeIdentity(qeReport, qeIdentity, quote.tee))
  if (quote.tee === 'tdx') run.make('tdx-module', () => requireTdxModule(tcbInfo, quote.body))
  const standing = run.make('tcb-level', () => {
    const unknown = tcbInfo.unknownStatus ?? qeIdentity.unknownStatus
    if (unknown !== undefined) fail('TCB_STATUS_UNRECOGNIZED', 'a TCB status in the collateral is unknown')
    const qeSvn = Buffer.from(qeReport.isv_svn).readUInt16LE()
    const at = (teeTcbSvn?: Uint8Array) =>
      evaluateTcb({ pck, qeSvn, ...(teeTcbSvn === undefined ? {} : { teeTcbSvn }) }, tcbInfo, qeIdentity)
    return quote.tee === 'tdx' ? tdStanding(quote, at) : { launch: at(), current: at() }
  })
  run.make('tcb-revocation', () => {
    const revoked = standing.launch.status === 'Revoked' || standing.current.status === 'Revoked'
    if (revoked) fail('TCB_REVOKED', 'Intel has revoked this TCB')
  })
  return { ...standing, launch: relaunched(standing.launch, standing.current) }
}

function tdStanding(
  { body }: TdQuote,
  at: (svn: Uint8Array) => TcbStanding,
): { launch: TcbStanding; current: TcbStanding } {
  const launch = at(body.tcb_svn)
  return { launch, current: body.tee_tcb_svn2 === undefined ? launch : at(body.tee_tcb_svn2) }
}

function relaunched(launch: TcbStanding, current: TcbStanding): TcbStanding {
  return { ...launch, status: relaunchStatus(launch.status, current.status) }
}

const dcapChecks: readonly Check[] = [
  {
    name: 'pck-chain',
    source: 'spec 04 §4.2; Intel SGX PCK certificate and CRL profile',
    codes: ['PCK_CHAIN_INVALID'],
    protects: 'Anyone could make a platform certificate and sign quotes of machines that do not exist.',
  },
  {
    name: 'pck-validity',
    source: 'spec 04 §4.2',
    codes: ['CERT_EXPIRED', 'CERT_NOT_YET_VALID'],
    protects: 'A certificate that Intel let lapse would still speak for a platform.',
  },
  {
    name: 'pck-extension',
    source: 'spec 04 §4.3',
    codes: ['PCK_EXTENSION_INVALID'],
    protects: 'A platform would be judged by SVNs or a model that its certificate does not state.',
  },
  {
    name: 'qe-report-signature',
    source: 'spec 04 §4.4',
    codes: ['QE_REPORT_SIGNATURE_INVALID'],
    protects: 'A quoting enclave of the attacker could stand in for that of Intel.',
  },
  {
    name: 'attestation-key-binding',
    source: 'spec 04 §4.4',
    codes: ['QE_REPORT_DATA_MISMATCH'],
    protects: 'An attestation key of the attacker could be put beside a genuine QE report.',
  },
  {
    name: 'attestation-key-signature',
    source: 'spec 04 §4.4',
    codes: ['QUOTE_SIGNATURE_INVALID'],
    protects: 'Measurements, report data and TCB of a genuine quote could be changed.',
  },
  {
    name: 'collateral-availability',
    source: 'spec 04 §5.1',
    // a source that verifies what it fetches says what is wrong with all that it could get
    codes: [
      'COLLATERAL_UNAVAILABLE',
      'COLLATERAL_MALFORMED',
      'COLLATERAL_CHAIN_INVALID',
      'COLLATERAL_SIGNATURE_INVALID',
      'COLLATERAL_NOT_YET_VALID',
      'CRL_INVALID',
      'PCK_CHAIN_INVALID',
      'TCB_INFO_VERSION_UNSUPPORTED',
      'QE_IDENTITY_VERSION_UNSUPPORTED',
      'TCB_INFO_MISMATCH',
      'QE_IDENTITY_MISMATCH',
    ],
    protects: 'A platform would be trusted without knowing how it stands.',
  },
  {
    name: 'tcb-info-signature',
    source: 'spec 04 §5.3',
    codes: ['COLLATERAL_MALFORMED', 'COLLATERAL_CHAIN_INVALID', 'COLLATERAL_SIGNATURE_INVALID'],
    protects: 'Whoever serves collateral could call an outdated platform up to date.',
  },
  {
    name: 'qe-identity-signature',
    source: 'spec 04 §5.3',
    codes: ['COLLATERAL_MALFORMED', 'COLLATERAL_CHAIN_INVALID', 'COLLATERAL_SIGNATURE_INVALID'],
    protects: 'Whoever serves collateral could name an enclave of his own as quoting enclave.',
  },
  {
    name: 'root-crl-signature',
    source: 'spec 04 §5.4',
    codes: ['CRL_INVALID'],
    protects: 'An empty list of the attacker would make revoked CAs and signers valid again.',
  },
  {
    name: 'pck-crl-signature',
    source: 'spec 04 §5.4',
    codes: ['CRL_INVALID'],
    protects: 'An empty list of the attacker would make revoked platforms valid again.',
  },
  {
    name: 'tcb-info-version',
    source: 'spec 04 §5.2',
    codes: ['TCB_INFO_VERSION_UNSUPPORTED', 'COLLATERAL_MALFORMED'],
    protects: 'Members of another version would be read with the wrong meaning.',
  },
  {
    name: 'qe-identity-version',
    source: 'spec 04 §5.2',
    codes: ['QE_IDENTITY_VERSION_UNSUPPORTED', 'COLLATERAL_MALFORMED'],
    protects: 'Members of another version would be read with the wrong meaning.',
  },
  {
    name: 'collateral-validity',
    source: 'spec 04 §5.5',
    codes: ['COLLATERAL_EXPIRED', 'COLLATERAL_NOT_YET_VALID'],
    protects: 'Old collateral, replayed, would hide vulnerabilities and revocations found since.',
  },
  {
    name: 'revocation',
    source: 'spec 04 §5.4',
    codes: ['CERT_REVOKED'],
    protects: 'A platform whose keys were extracted would go on signing.',
  },
  {
    name: 'tcb-info-identity',
    source: 'spec 04 §6.1',
    codes: ['TCB_INFO_MISMATCH', 'COLLATERAL_MALFORMED'],
    protects: 'A platform would be judged by the levels of another, more lenient one.',
  },
  {
    name: 'qe-identity',
    source: 'spec 04 §6.1',
    codes: ['QE_IDENTITY_MISMATCH'],
    protects: 'Any enclave of a genuine platform could vouch for attestation keys.',
  },
  {
    name: 'tdx-module',
    source: 'spec 04 §6.2',
    codes: ['TDX_MODULE_MISMATCH'],
    protects: 'A TDX module that is not of Intel, or runs in debug mode, could measure the TD.',
  },
  {
    name: 'tcb-level',
    source: 'spec 04 §6.3 to §6.6',
    codes: ['TCB_LEVEL_UNSUPPORTED', 'TCB_STATUS_UNRECOGNIZED'],
    protects: 'Firmware below all that Intel supports would pass as supported.',
  },
  {
    name: 'tcb-revocation',
    source: 'spec 04 §6.7',
    codes: ['TCB_REVOKED'],
    protects: 'Firmware that Intel has declared broken would pass.',
  },
]
