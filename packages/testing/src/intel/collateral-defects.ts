import { octetString } from '../x509/der-writer.ts'
import { after, defaultPck, type IntelAuthorities, issuePck, makeAuthorities } from './authorities.ts'
import { type CrlFields, type Identity, makeCertificate, pem } from './certificate.ts'
import type { ServedCollateral } from './collateral.ts'

export type Json = null | boolean | number | string | readonly Json[] | JsonMembers
export type JsonMembers = { readonly [name: string]: Json }

/** Everything that goes into collateral, before anything is signed. */
export interface CollateralPlan {
  readonly authorities: IntelAuthorities
  readonly ca: 'platform' | 'processor'
  readonly tcbInfo: JsonMembers
  readonly qeIdentity: JsonMembers
  readonly tcbInfoSigner: Identity
  readonly qeIdentitySigner: Identity
  readonly pckCrl: CrlFields
  readonly rootCaCrl: CrlFields
}

interface Defect {
  /** The reason for which a verifier of spec 04 refuses the collateral. */
  readonly code: string
  readonly of?: 'tdx'
  /** Before signing. */
  readonly plan?: (plan: CollateralPlan) => Partial<CollateralPlan>
  /** After signing. */
  readonly served?: (served: ServedCollateral, plan: CollateralPlan) => Partial<ServedCollateral>
}

const tcbInfo = (members: JsonMembers) => (plan: CollateralPlan) => ({
  tcbInfo: { ...plan.tcbInfo, ...members },
})
const qeIdentity = (members: JsonMembers) => (plan: CollateralPlan) => ({
  qeIdentity: { ...plan.qeIdentity, ...members },
})

const without = (members: JsonMembers, name: string): JsonMembers =>
  Object.fromEntries(Object.entries(members).filter(([each]) => each !== name))

type DocumentName = keyof ServedCollateral

/** Replaces the body of one served document. */
const body = (name: DocumentName, change: (body: Buffer) => Uint8Array) => (served: ServedCollateral) => ({
  [name]: { ...served[name], body: change(Buffer.from(served[name].body)) },
})

const replaced = (find: string, replacement: string) => (bytes: Buffer) =>
  Buffer.from(bytes.toString('utf8').replace(find, replacement))

const flipped = (at: number) => (bytes: Buffer) => {
  const changed = Buffer.from(bytes)
  const index = at < 0 ? bytes.length + at : at
  changed[index] = (changed[index] ?? 0) ^ 1
  return changed
}

const dates = (plan: CollateralPlan, from: number, to: number): JsonMembers => {
  const text = (days: number) => `${after(plan.authorities.now, days).toISOString().slice(0, 19)}Z`
  return { issueDate: text(from), nextUpdate: text(to) }
}

const crl =
  (name: 'pckCrl' | 'rootCaCrl', change: (plan: CollateralPlan) => Partial<CrlFields>) =>
  (plan: CollateralPlan) => ({
    [name]: { ...plan[name], ...change(plan) },
  })

const signer =
  (
    name: 'tcbInfoSigner' | 'qeIdentitySigner',
    change: (plan: CollateralPlan) => Parameters<typeof makeCertificate>[0],
  ) =>
  (plan: CollateralPlan) => ({ [name]: makeCertificate(change(plan)) })

const signerFields = ({ authorities }: CollateralPlan) => ({
  commonName: 'Intel SGX TCB Signing',
  ca: false,
  issuer: authorities.root,
  notBefore: after(authorities.now, -1000),
  notAfter: after(authorities.now, 3000),
})

const criticalExtension = { oid: '1.2.3.4', critical: true, value: octetString(new Uint8Array(1)) }

/** Each makes one thing wrong with collateral that is right otherwise. */
const defects = {
  'tcb-info-not-json': {
    code: 'COLLATERAL_MALFORMED',
    served: body('tcbInfo', () => Buffer.from('{"tcbInfo":')),
  },
  'tcb-info-extra-member': {
    code: 'COLLATERAL_MALFORMED',
    served: body('tcbInfo', replaced('{', '{"more":1,')),
  },
  'tcb-info-member-twice': {
    code: 'COLLATERAL_MALFORMED',
    served: body('tcbInfo', replaced('{"tcbInfo":', '{"tcbInfo":{},"tcbInfo":')),
  },
  'tcb-info-signature-short': {
    code: 'COLLATERAL_MALFORMED',
    served: body('tcbInfo', (text) => Buffer.concat([text.subarray(0, -4), Buffer.from('"}')])),
  },
  'tcb-info-status-edited': {
    code: 'COLLATERAL_SIGNATURE_INVALID',
    served: body('tcbInfo', replaced('"OutOfDate"', '"UpToDate"')),
  },
  'tcb-info-signature-changed': {
    code: 'COLLATERAL_SIGNATURE_INVALID',
    served: body('tcbInfo', (text) =>
      Buffer.from(text.toString().replace(/(.)"\}$/, (_, last) => `${last === '0' ? '1' : '0'}"}`)),
    ),
  },
  'tcb-info-without-levels': { code: 'COLLATERAL_MALFORMED', plan: tcbInfo({ tcbLevels: [] }) },
  'tcb-info-impossible-date': {
    code: 'COLLATERAL_MALFORMED',
    plan: tcbInfo({ nextUpdate: '2026-02-30T00:00:00Z' }),
  },
  'tcb-info-chain-empty': {
    code: 'COLLATERAL_CHAIN_INVALID',
    served: ({ tcbInfo: { body: bytes } }) => ({ tcbInfo: { body: bytes, issuerChain: '' } }),
  },
  'tcb-info-chain-foreign': {
    code: 'COLLATERAL_CHAIN_INVALID',
    served: ({ tcbInfo: document }, { authorities }) => {
      const other = makeAuthorities(authorities.now)
      return {
        tcbInfo: { ...document, issuerChain: pem(other.tcbSigner.certificate, other.root.certificate) },
      }
    },
  },
  'tcb-info-signed-by-pck': {
    code: 'COLLATERAL_CHAIN_INVALID',
    plan: ({ authorities }) => ({
      tcbInfoSigner: issuePck(authorities, 'platform', defaultPck('platform', new Uint8Array(6))),
    }),
  },
  'tcb-signer-name': {
    code: 'COLLATERAL_CHAIN_INVALID',
    plan: signer('tcbInfoSigner', (plan) => ({
      ...signerFields(plan),
      commonName: 'Intel SGX TCB Signing 2',
    })),
  },
  'tcb-signer-is-ca': {
    code: 'COLLATERAL_CHAIN_INVALID',
    plan: signer('tcbInfoSigner', (plan) => ({ ...signerFields(plan), ca: true })),
  },
  'tcb-signer-expired': {
    code: 'COLLATERAL_EXPIRED',
    plan: signer('tcbInfoSigner', (plan) => ({
      ...signerFields(plan),
      notAfter: after(plan.authorities.now, -1),
    })),
  },
  'tcb-signer-from-future': {
    code: 'COLLATERAL_NOT_YET_VALID',
    plan: signer('tcbInfoSigner', (plan) => ({
      ...signerFields(plan),
      notBefore: after(plan.authorities.now, 1),
    })),
  },
  'qe-signer-expired': {
    code: 'COLLATERAL_EXPIRED',
    plan: signer('qeIdentitySigner', (plan) => ({
      ...signerFields(plan),
      notAfter: after(plan.authorities.now, -1),
    })),
  },
  'tcb-info-version': { code: 'TCB_INFO_VERSION_UNSUPPORTED', plan: tcbInfo({ version: 2 }) },
  'tcb-info-type': { code: 'TCB_INFO_VERSION_UNSUPPORTED', plan: tcbInfo({ tcbType: 1 }) },
  'tcb-info-expired': { code: 'COLLATERAL_EXPIRED', plan: (plan) => tcbInfo(dates(plan, -40, -1))(plan) },
  'tcb-info-from-future': {
    code: 'COLLATERAL_NOT_YET_VALID',
    plan: (plan) => tcbInfo(dates(plan, 1, 30))(plan),
  },
  'tcb-info-of-other-tee': {
    code: 'TCB_INFO_MISMATCH',
    plan: (plan) => tcbInfo({ id: plan.tcbInfo.id === 'TDX' ? 'SGX' : 'TDX' })(plan),
  },
  'tcb-info-of-other-fmspc': { code: 'TCB_INFO_MISMATCH', plan: tcbInfo({ fmspc: 'FFFFFFFFFFFF' }) },
  'tcb-info-of-other-pce': { code: 'TCB_INFO_MISMATCH', plan: tcbInfo({ pceId: '0001' }) },
  'tcb-info-without-module': {
    code: 'COLLATERAL_MALFORMED',
    of: 'tdx',
    plan: (plan) => ({ tcbInfo: without(plan.tcbInfo, 'tdxModule') }),
  },
  'module-not-described': {
    code: 'TDX_MODULE_MISMATCH',
    of: 'tdx',
    plan: tcbInfo({ tdxModuleIdentities: [] }),
  },
  'status-unknown': {
    code: 'TCB_STATUS_UNRECOGNIZED',
    plan: (plan) => tcbInfo({ tcbLevels: renamedLastStatus(plan.tcbInfo.tcbLevels) })(plan),
  },
  'qe-status-unknown': {
    code: 'TCB_STATUS_UNRECOGNIZED',
    plan: (plan) => qeIdentity({ tcbLevels: renamedLastStatus(plan.qeIdentity.tcbLevels) })(plan),
  },
  'qe-identity-edited': {
    code: 'COLLATERAL_SIGNATURE_INVALID',
    served: body('qeIdentity', replaced('"UpToDate"', '"Revoked"')),
  },
  'qe-identity-swapped': {
    code: 'COLLATERAL_MALFORMED',
    served: ({ tcbInfo: document }) => ({ qeIdentity: document }),
  },
  'qe-identity-version': { code: 'QE_IDENTITY_VERSION_UNSUPPORTED', plan: qeIdentity({ version: 1 }) },
  'qe-identity-expired': {
    code: 'COLLATERAL_EXPIRED',
    plan: (plan) => qeIdentity(dates(plan, -40, -1))(plan),
  },
  'qe-identity-from-future': {
    code: 'COLLATERAL_NOT_YET_VALID',
    plan: (plan) => qeIdentity(dates(plan, 1, 30))(plan),
  },
  'qe-identity-of-other-tee': {
    code: 'QE_IDENTITY_MISMATCH',
    plan: (plan) => qeIdentity({ id: plan.qeIdentity.id === 'QE' ? 'TD_QE' : 'QE' })(plan),
  },
  'qe-identity-of-other-signer': {
    code: 'QE_IDENTITY_MISMATCH',
    plan: qeIdentity({ mrsigner: '11'.repeat(32) }),
  },
  'qe-identity-without-level': { code: 'TCB_LEVEL_UNSUPPORTED', plan: qeIdentity({ tcbLevels: [] }) },
  'pck-crl-empty': { code: 'CRL_INVALID', served: body('pckCrl', () => Buffer.alloc(0)) },
  'pck-crl-garbage': { code: 'CRL_INVALID', served: body('pckCrl', () => Buffer.from('<html>404</html>')) },
  'pck-crl-trailing-byte': {
    code: 'CRL_INVALID',
    served: body('pckCrl', (bytes) => Buffer.concat([bytes, Uint8Array.of(0)])),
  },
  'pck-crl-signature': { code: 'CRL_INVALID', served: body('pckCrl', flipped(-1)) },
  'pck-crl-of-other-ca': {
    code: 'CRL_INVALID',
    plan: (plan) =>
      crl('pckCrl', ({ authorities, ca }) => ({
        issuer: authorities[ca === 'platform' ? 'processor' : 'platform'],
      }))(plan),
  },
  'pck-crl-signed-by-root': {
    code: 'CRL_INVALID',
    plan: crl('pckCrl', ({ authorities }) => ({ signingKey: authorities.root.privateKey })),
  },
  'pck-crl-without-next-update': {
    code: 'CRL_INVALID',
    plan: crl('pckCrl', () => ({ nextUpdate: undefined })),
  },
  'pck-crl-without-number': { code: 'CRL_INVALID', plan: crl('pckCrl', () => ({ number: undefined })) },
  'pck-crl-critical-extension': {
    code: 'CRL_INVALID',
    plan: crl('pckCrl', () => ({ extensions: [criticalExtension] })),
  },
  'pck-crl-expired': {
    code: 'COLLATERAL_EXPIRED',
    plan: crl('pckCrl', ({ authorities }) => ({ nextUpdate: after(authorities.now, -0.5) })),
  },
  'pck-crl-from-future': {
    code: 'COLLATERAL_NOT_YET_VALID',
    plan: crl('pckCrl', ({ authorities }) => ({ thisUpdate: after(authorities.now, 1) })),
  },
  'root-crl-signature': { code: 'CRL_INVALID', served: body('rootCaCrl', flipped(-1)) },
  'root-crl-is-pck-crl': { code: 'CRL_INVALID', served: ({ pckCrl }) => ({ rootCaCrl: pckCrl }) },
  'root-crl-expired': {
    code: 'COLLATERAL_EXPIRED',
    plan: crl('rootCaCrl', ({ authorities }) => ({ nextUpdate: after(authorities.now, -0.5) })),
  },
  'root-crl-from-future': {
    code: 'COLLATERAL_NOT_YET_VALID',
    plan: crl('rootCaCrl', ({ authorities }) => ({ thisUpdate: after(authorities.now, 1) })),
  },
  'pck-ca-revoked': {
    code: 'CERT_REVOKED',
    plan: crl('rootCaCrl', ({ authorities, ca }) => ({ revoked: [authorities[ca].serial] })),
  },
  'tcb-signer-revoked': {
    code: 'CERT_REVOKED',
    plan: crl('rootCaCrl', ({ authorities }) => ({ revoked: [authorities.tcbSigner.serial] })),
  },
} satisfies Record<string, Defect>

export type CollateralDefect = keyof typeof defects

/** Every defect, with the reason for which it must be refused. */
export const collateralDefects: readonly {
  readonly name: CollateralDefect
  readonly code: string
  readonly of?: 'tdx'
}[] = Object.entries(defects as Record<string, Defect>).map(([name, { code, of }]) => ({
  name: name as CollateralDefect,
  code,
  ...(of === undefined ? {} : { of }),
}))

export function changedPlan(name: CollateralDefect, plan: CollateralPlan): CollateralPlan {
  const defect: Defect = defects[name]
  return { ...plan, ...defect.plan?.(plan) }
}

export function changedCollateral(
  name: CollateralDefect,
  served: ServedCollateral,
  plan: CollateralPlan,
): ServedCollateral {
  const defect: Defect = defects[name]
  return { ...served, ...defect.served?.(served, plan) }
}

function renamedLastStatus(levels: Json | undefined): Json {
  if (!Array.isArray(levels)) throw new TypeError('no levels')
  return levels.map((level: JsonMembers, index) =>
    index === levels.length - 1 ? { ...level, tcbStatus: 'uptodate' } : level,
  )
}
