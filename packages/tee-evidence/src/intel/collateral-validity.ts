import { fail } from '../rejection.ts'
import type { Certificate } from '../x509/certificate.ts'
import type { SignedCrl } from './collateral.ts'
import { earliest, latest, toUtcSeconds } from './collateral-shape.ts'
import type { PckChain } from './pck-certificate.ts'
import type { QeIdentity } from './qe-identity.ts'
import type { TcbInfo } from './tcb-info.ts'

/** Collateral of which every signature has been checked. */
export interface AuthenticCollateral {
  readonly tcbInfo: TcbInfo
  readonly tcbInfoSigner: Certificate
  readonly qeIdentity: QeIdentity
  readonly qeIdentitySigner: Certificate
  readonly pckCrl: SignedCrl
  readonly rootCaCrl: SignedCrl
}

/** From when to when something may be relied on; RFC 3339, UTC, seconds. */
interface Window {
  readonly what: string
  readonly begin: string
  readonly end: string
}

/** Clocks of guests, publishers and verifiers differ; nothing else allows for it. */
const clockSkewMs = 300_000

/**
 * Demands that nothing is used outside its window (spec 04 §5.5).
 * @param reportExpired true: expiry is left to the claim `collateral_expiration_status`
 * @throws CheckFailure `COLLATERAL_EXPIRED` or `COLLATERAL_NOT_YET_VALID`
 */
export function requireValidCollateral(
  collateral: AuthenticCollateral,
  now: Date,
  reportExpired: boolean,
): void {
  for (const { what, begin, end } of collateralWindows(collateral)) {
    if (now.getTime() < Date.parse(begin) - clockSkewMs)
      fail('COLLATERAL_NOT_YET_VALID', `${what} begins ${begin}`)
    if (now.getTime() > Date.parse(end) && !reportExpired) fail('COLLATERAL_EXPIRED', `${what} ended ${end}`)
  }
}

/** The date claims over all documents and every certificate of the three chains. */
export interface ValidityClaims {
  readonly earliestIssueDate: string
  readonly latestIssueDate: string
  readonly earliestExpirationDate: string
  readonly expired: boolean
}

/** Sums up the dates of collateral and PCK chain; unlike Intel's QvE, `expired` looks at all of them. */
export function summariseValidity(
  collateral: AuthenticCollateral,
  chain: PckChain,
  now: Date,
): ValidityClaims {
  const windows = [
    ...collateralWindows(collateral),
    ...[chain.leaf, chain.issuer.certificate, chain.root.certificate].map((each) =>
      certificateWindow(each, 'PCK chain'),
    ),
  ]
  const begins = windows.map(({ begin }) => begin)
  const earliestExpirationDate = earliest(windows.map(({ end }) => end))
  return {
    earliestIssueDate: earliest(begins),
    latestIssueDate: latest(begins),
    earliestExpirationDate,
    expired: now.getTime() > Date.parse(earliestExpirationDate),
  }
}

function collateralWindows(collateral: AuthenticCollateral): Window[] {
  const { tcbInfo, qeIdentity, pckCrl, rootCaCrl } = collateral
  return [
    { what: 'TCB info', begin: tcbInfo.issueDate, end: tcbInfo.nextUpdate },
    certificateWindow(collateral.tcbInfoSigner, 'signer of the TCB info'),
    { what: 'QE identity', begin: qeIdentity.issueDate, end: qeIdentity.nextUpdate },
    certificateWindow(collateral.qeIdentitySigner, 'signer of the QE identity'),
    crlWindow(pckCrl, 'PCK CRL'),
    crlWindow(rootCaCrl, 'root CA CRL'),
  ]
}

function certificateWindow({ notBefore, notAfter }: Certificate, what: string): Window {
  return { what, begin: toUtcSeconds(notBefore), end: toUtcSeconds(notAfter) }
}

function crlWindow({ thisUpdate, nextUpdate }: SignedCrl, what: string): Window {
  return { what, begin: toUtcSeconds(thisUpdate), end: toUtcSeconds(nextUpdate) }
}
