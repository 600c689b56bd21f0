import { sign } from 'node:crypto'
import { after, type IntelAuthorities } from './authorities.ts'
import { makeCrl, pem } from './certificate.ts'
import {
  type CollateralDefect,
  type CollateralPlan,
  changedCollateral,
  changedPlan,
  type Json,
  type JsonMembers,
} from './collateral-defects.ts'
import { qeProducts, qeSigner } from './platform.ts'

/** One document as a PCS serves it. */
export interface ServedDocument {
  readonly body: Uint8Array
  readonly issuerChain?: string
}

export interface ServedCollateral {
  readonly tcbInfo: ServedDocument
  readonly qeIdentity: ServedDocument
  readonly pckCrl: ServedDocument
  readonly rootCaCrl: ServedDocument
}

export interface CollateralOptions {
  readonly tee?: 'tdx' | 'sgx'
  readonly ca?: 'platform' | 'processor'
  /** 12 hex digits. */
  readonly fmspc?: string
  /** When it was issued; a day before the vendor's `now` unless told. It lives 30 days. */
  readonly issued?: Date
  /** Serial numbers on the PCK CRL. */
  readonly revokedPcks?: readonly Uint8Array[]
  /** Serial numbers on the root CA CRL. */
  readonly revokedCas?: readonly Uint8Array[]
  /** Counts up with every TCB recovery. */
  readonly evaluationDataNumber?: number
  readonly defect?: CollateralDefect
}

/** Collateral of one platform, with at most one thing wrong. */
export function makeCollateral(authorities: IntelAuthorities, options: CollateralOptions): ServedCollateral {
  const plan = defaultPlan(authorities, options)
  const { defect } = options
  if (defect === undefined) return encodeCollateral(plan)
  return changedCollateral(defect, encodeCollateral(changedPlan(defect, plan)), plan)
}

function defaultPlan(authorities: IntelAuthorities, options: CollateralOptions): CollateralPlan {
  const { tee = 'tdx', ca = 'platform', fmspc = '90c06f000000' } = options
  const { issued = after(authorities.now, -1), evaluationDataNumber = 20 } = options
  const dates = { issueDate: text(issued), nextUpdate: text(after(issued, 30)) }
  return {
    authorities,
    ca,
    tcbInfo: {
      id: tee.toUpperCase(),
      version: 3,
      ...dates,
      fmspc: fmspc.toUpperCase(),
      pceId: '0000',
      tcbType: 0,
      tcbEvaluationDataNumber: evaluationDataNumber,
      ...(tee === 'tdx' ? tdxModules() : {}),
      tcbLevels: tee === 'tdx' ? tdxLevels() : sgxLevels(),
    },
    qeIdentity: {
      id: tee === 'tdx' ? 'TD_QE' : 'QE',
      version: 2,
      ...dates,
      tcbEvaluationDataNumber: evaluationDataNumber,
      miscselect: '00000000',
      miscselectMask: 'FFFFFFFF',
      attributes: `11${'00'.repeat(15)}`,
      attributesMask: `FBFFFFFFFFFFFFFF${'00'.repeat(8)}`,
      mrsigner: Buffer.from(qeSigner).toString('hex').toUpperCase(),
      isvprodid: qeProducts[tee],
      tcbLevels: [isvLevel(4, 'UpToDate'), isvLevel(3, 'OutOfDate'), isvLevel(1, 'Revoked')],
    },
    tcbInfoSigner: authorities.tcbSigner,
    qeIdentitySigner: authorities.tcbSigner,
    pckCrl: {
      issuer: authorities[ca],
      thisUpdate: issued,
      nextUpdate: after(issued, 30),
      revoked: options.revokedPcks ?? [],
    },
    rootCaCrl: {
      issuer: authorities.root,
      thisUpdate: issued,
      nextUpdate: after(issued, 365),
      revoked: options.revokedCas ?? [],
    },
  }
}

/** Signs every document of a plan. */
export function encodeCollateral(plan: CollateralPlan): ServedCollateral {
  const { root } = plan.authorities
  const chain = (signer: { certificate: Uint8Array }) => pem(signer.certificate, root.certificate)
  return {
    tcbInfo: {
      body: signedJson('tcbInfo', plan.tcbInfo, plan.tcbInfoSigner),
      issuerChain: chain(plan.tcbInfoSigner),
    },
    qeIdentity: {
      body: signedJson('enclaveIdentity', plan.qeIdentity, plan.qeIdentitySigner),
      issuerChain: chain(plan.qeIdentitySigner),
    },
    pckCrl: { body: makeCrl(plan.pckCrl), issuerChain: chain(plan.authorities[plan.ca]) },
    rootCaCrl: { body: makeCrl(plan.rootCaCrl) },
  }
}

function signedJson(member: string, content: Json, signer: CollateralPlan['tcbInfoSigner']): Uint8Array {
  const raw = JSON.stringify(content)
  const signature = sign('sha256', Buffer.from(raw), { key: signer.privateKey, dsaEncoding: 'ieee-p1363' })
  return Buffer.from(`{"${member}":${raw},"signature":"${signature.toString('hex')}"}`)
}

/** `YYYY-MM-DDTHH:MM:SSZ`. */
export function text(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`
}

function tdxModules(): JsonMembers {
  const module = { mrsigner: '00'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) }
  const levels = [isvLevel(5, 'UpToDate'), isvLevel(3, 'OutOfDate', 'INTEL-SA-90020'), isvLevel(1, 'Revoked')]
  return { tdxModule: module, tdxModuleIdentities: [{ id: 'TDX_03', ...module, tcbLevels: levels }] }
}

function isvLevel(isvsvn: number, tcbStatus: string, advisory?: string): Json {
  const date = `2024-0${Math.min(isvsvn, 9)}-20T00:00:00Z`
  return {
    tcb: { isvsvn },
    tcbDate: date,
    tcbStatus,
    ...(advisory === undefined ? {} : { advisoryIDs: [advisory] }),
  }
}

/** By the third TDX component; PCESVN 5 alone is revoked, so that the platform can be as well as the TD. */
function tdxLevels(): Json[] {
  return [
    tdxLevel(9, 11, 'UpToDate'),
    tdxLevel(8, 11, 'SWHardeningNeeded'),
    tdxLevel(7, 11, 'ConfigurationNeeded'),
    tdxLevel(6, 11, 'ConfigurationAndSWHardeningNeeded'),
    tdxLevel(5, 11, 'OutOfDate'),
    tdxLevel(4, 11, 'OutOfDateConfigurationNeeded'),
    tdxLevel(3, 5, 'Revoked'),
  ]
}

function tdxLevel(third: number, pcesvn: number, status: string): Json {
  const tdx = [0, 0, third, ...new Array<number>(13).fill(0)].map((svn) => ({ svn }))
  return {
    tcb: { sgxtcbcomponents: components(), pcesvn, tdxtcbcomponents: tdx },
    ...standing(third, status),
  }
}

/** By PCESVN. */
function sgxLevels(): Json[] {
  const statuses: readonly (readonly [number, string])[] = [
    [13, 'UpToDate'],
    [12, 'SWHardeningNeeded'],
    [11, 'ConfigurationNeeded'],
    [10, 'ConfigurationAndSWHardeningNeeded'],
    [9, 'OutOfDate'],
    [8, 'OutOfDateConfigurationNeeded'],
    [5, 'Revoked'],
  ]
  return statuses.map(([pcesvn, status]) => ({
    tcb: { sgxtcbcomponents: components(), pcesvn },
    ...standing(pcesvn - 4, status),
  }))
}

function components(): Json[] {
  return [2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0].map((svn) => ({ svn, category: 'BIOS' }))
}

function standing(rank: number, tcbStatus: string): JsonMembers {
  const advisories = tcbStatus === 'UpToDate' ? {} : { advisoryIDs: [`INTEL-SA-9000${rank}`] }
  return { tcbDate: `2024-0${rank}-13T00:00:00Z`, tcbStatus, ...advisories }
}
