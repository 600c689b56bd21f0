import type { ExtensionDraft } from '../x509/certificate-writer.ts'
import { octetString } from '../x509/der-writer.ts'
import { after, type IntelAuthorities, issuePck, makeAuthorities } from './authorities.ts'
import { type CertificateFields, ecdsaWithSha384, type Identity, makeCertificate } from './certificate.ts'
import { type PckFields, pckExtension, pckMember } from './pck-extension.ts'
import { keyHash, publicPoint, type QuoteOffsets, type QuoteParts, u16, u32 } from './quote-parts.ts'
import type { EnclaveReportFields, TdReportFields } from './report.ts'

/** What a defect may draw on. */
interface Context {
  readonly authorities: IntelAuthorities
  readonly ca: 'platform' | 'processor'
  readonly pckFields: PckFields
}

interface Defect {
  /** The reason for which a verifier of spec 04 refuses the quote. */
  readonly code: string
  /** Where the defect makes sense; everywhere unless told. */
  readonly of?: 'tdx' | 'sgx' | 'v5' | 'v4+'
  /** Before signing. */
  readonly parts?: (parts: QuoteParts, context: Context) => Partial<QuoteParts>
  /** After signing. */
  readonly quote?: (quote: Uint8Array, offsets: QuoteOffsets) => Uint8Array
}

const flip = (at: (offsets: QuoteOffsets) => number) => (quote: Uint8Array, offsets: QuoteOffsets) => {
  const changed = Uint8Array.from(quote)
  changed[at(offsets)] = (changed[at(offsets)] ?? 0) ^ 0x10
  return changed
}

const qe = (fields: EnclaveReportFields) => (parts: QuoteParts) => ({ qe: { ...parts.qe, ...fields } })

const td = (fields: TdReportFields) => (parts: QuoteParts) =>
  parts.td === undefined ? {} : { td: { ...parts.td, fields: { ...parts.td.fields, ...fields } } }

/** A chain with another leaf. */
const leaf =
  (change: (context: Context) => { fields?: Partial<PckFields>; certificate?: Partial<CertificateFields> }) =>
  (_parts: QuoteParts, context: Context): Partial<QuoteParts> => {
    const { fields, certificate } = change(context)
    const { authorities, ca, pckFields } = context
    const pck = issuePck(authorities, ca, { ...pckFields, ...fields }, certificate)
    return chainOf(pck, authorities[ca], authorities.root)
  }

/** A chain with another intermediate, and a leaf issued by it. */
const intermediate =
  (change: Partial<CertificateFields>) =>
  (_parts: QuoteParts, { authorities, ca, pckFields }: Context) => {
    const issuer = makeCertificate({
      commonName: ca === 'platform' ? 'Intel SGX PCK Platform CA' : 'Intel SGX PCK Processor CA',
      ca: true,
      issuer: authorities.root,
      notBefore: after(authorities.now, -1000),
      notAfter: after(authorities.now, 3000),
      ...change,
    })
    return chainOf(issuePck({ ...authorities, [ca]: issuer }, ca, pckFields), issuer, authorities.root)
  }

function chainOf(pck: Identity, issuer: Identity, root: Identity): Partial<QuoteParts> {
  return { pckKey: pck.privateKey, chain: [pck.certificate, issuer.certificate, root.certificate] }
}

const extensions = (...list: readonly ExtensionDraft[]) => leaf(() => ({ certificate: { extensions: list } }))

const unknownCritical = { oid: '1.2.3.4', critical: true, value: octetString(new Uint8Array(1)) }

/** Each makes one thing wrong with a quote that is right otherwise. */
const defects = {
  'cut-short': { code: 'QUOTE_MALFORMED', quote: (quote) => quote.subarray(0, -1) },
  'signature-length': { code: 'QUOTE_MALFORMED', quote: flip((at) => at.signatureLength + 1) },
  'trailing-data': {
    code: 'QUOTE_TRAILING_DATA',
    quote: (quote) => Buffer.concat([quote, Uint8Array.of(0, 1)]),
  },
  version: {
    code: 'QUOTE_VERSION_UNSUPPORTED',
    quote: (quote) => Buffer.concat([u16(6), quote.subarray(2)]),
  },
  'tee-type': { code: 'TEE_TYPE_MISMATCH', parts: () => ({ teeType: 0x82 }) },
  'body-type': { code: 'QUOTE_BODY_UNSUPPORTED', of: 'v5', parts: () => ({ bodyType: 4 }) },
  'body-size': { code: 'QUOTE_MALFORMED', of: 'v5', parts: () => ({ bodySize: 649 }) },
  'attestation-key-type': { code: 'ATT_KEY_TYPE_UNSUPPORTED', parts: () => ({ attestationKeyType: 3 }) },
  'qe-vendor': { code: 'QE_VENDOR_UNSUPPORTED', parts: () => ({ vendorId: new Uint8Array(16).fill(7) }) },
  'outer-certification-type': { code: 'CERT_DATA_UNSUPPORTED', of: 'v4+', parts: () => ({ outerType: 5 }) },
  'inner-certification-type': { code: 'CERT_DATA_UNSUPPORTED', parts: () => ({ innerType: 3 }) },

  'pck-foreign-root': {
    code: 'PCK_CHAIN_INVALID',
    parts: (_parts, { authorities, ca, pckFields }) => {
      const impostor = makeAuthorities(authorities.now)
      return chainOf(issuePck(impostor, ca, pckFields), impostor[ca], impostor.root)
    },
  },
  'pck-borrowed-root': {
    code: 'PCK_CHAIN_INVALID',
    parts: (_parts, { authorities, ca, pckFields }) => {
      const impostor = makeAuthorities(authorities.now)
      return chainOf(issuePck(impostor, ca, pckFields), impostor[ca], authorities.root)
    },
  },
  'pck-foreign-leaf': {
    code: 'PCK_CHAIN_INVALID',
    parts: (_parts, { authorities, ca, pckFields }) =>
      chainOf(issuePck(makeAuthorities(authorities.now), ca, pckFields), authorities[ca], authorities.root),
  },
  'pck-chain-reversed': { code: 'PCK_CHAIN_INVALID', parts: ({ chain }) => ({ chain: chain.toReversed() }) },
  'pck-chain-of-two': { code: 'PCK_CHAIN_INVALID', parts: ({ chain }) => ({ chain: chain.slice(0, 2) }) },
  'pck-chain-of-four': {
    code: 'PCK_CHAIN_INVALID',
    parts: ({ chain }) => ({ chain: [...chain, ...chain.slice(2)] }),
  },
  'pck-chain-with-text': { code: 'PCK_CHAIN_INVALID', parts: () => ({ chainSuffix: 'text' }) },
  'pck-ca-without-ca': { code: 'PCK_CHAIN_INVALID', parts: intermediate({ ca: false }) },
  'pck-ca-name': {
    code: 'PCK_CHAIN_INVALID',
    parts: intermediate({ commonName: 'Intel SGX PCK Platform CA 2' }),
  },
  'pck-leaf-name': {
    code: 'PCK_CHAIN_INVALID',
    parts: leaf(() => ({ certificate: { commonName: 'My Intel SGX PCK Certificate' } })),
  },
  'pck-leaf-is-ca': { code: 'PCK_CHAIN_INVALID', parts: leaf(() => ({ certificate: { ca: true } })) },
  'pck-two-algorithms': {
    code: 'PCK_CHAIN_INVALID',
    parts: leaf(() => ({ certificate: { outerAlgorithm: ecdsaWithSha384 } })),
  },
  'pck-critical-extension': {
    code: 'PCK_CHAIN_INVALID',
    parts: (parts, context) => extensions(pckExtension(context.pckFields), unknownCritical)(parts, context),
  },
  'pck-expired': {
    code: 'CERT_EXPIRED',
    parts: leaf(({ authorities }) => ({ certificate: { notAfter: after(authorities.now, -1) } })),
  },
  'pck-not-yet-valid': {
    code: 'CERT_NOT_YET_VALID',
    parts: leaf(({ authorities }) => ({ certificate: { notBefore: after(authorities.now, 1) } })),
  },
  'pck-ca-expired': {
    code: 'CERT_EXPIRED',
    parts: (parts, context) => intermediate({ notAfter: after(context.authorities.now, -1) })(parts, context),
  },

  'pck-without-extension': { code: 'PCK_EXTENSION_INVALID', parts: extensions() },
  'pck-extension-twice': {
    code: 'PCK_EXTENSION_INVALID',
    parts: (parts, context) =>
      extensions(pckExtension(context.pckFields), pckExtension(context.pckFields))(parts, context),
  },
  'pck-fmspc-of-5-bytes': {
    code: 'PCK_EXTENSION_INVALID',
    parts: leaf(() => ({ fields: { fmspc: new Uint8Array(5) } })),
  },
  'pck-15-components': {
    code: 'PCK_EXTENSION_INVALID',
    parts: leaf(({ pckFields }) => ({ fields: { components: pckFields.components.slice(0, 15) } })),
  },
  'pck-component-256': {
    code: 'PCK_EXTENSION_INVALID',
    parts: leaf(({ pckFields }) => ({ fields: { components: [256, ...pckFields.components.slice(1)] } })),
  },
  'pck-member-twice': {
    code: 'PCK_EXTENSION_INVALID',
    parts: (parts, context) =>
      extensions(pckExtension(context.pckFields, pckMember('3', octetString(Uint8Array.of(0, 0)))))(
        parts,
        context,
      ),
  },
  'pck-platform-members': {
    code: 'PCK_EXTENSION_INVALID',
    parts: leaf(({ ca }) => ({ fields: otherPlatformMembers(ca) })),
  },

  'qe-report-changed': { code: 'QE_REPORT_SIGNATURE_INVALID', quote: flip((at) => at.qeReport + 64) },
  'qe-signature-changed': { code: 'QE_REPORT_SIGNATURE_INVALID', quote: flip((at) => at.qeSignature) },
  'qe-signed-by-other-key': {
    code: 'QE_REPORT_SIGNATURE_INVALID',
    parts: (parts) => ({ pckKey: parts.attestationKey }),
  },
  'attestation-key-not-vouched': {
    code: 'QE_REPORT_DATA_MISMATCH',
    parts: qe({ report_data: new Uint8Array(64) }),
  },
  'authentication-data-changed': {
    code: 'QE_REPORT_DATA_MISMATCH',
    quote: flip((at) => at.authenticationData),
  },
  'qe-report-data-tail': {
    code: 'QE_REPORT_DATA_MISMATCH',
    parts: (parts) => {
      const hash = keyHash(publicPoint(parts.attestationKey), parts.authenticationData)
      return { qe: { ...parts.qe, report_data: Buffer.concat([hash, Uint8Array.of(1)]) } }
    },
  },
  'body-changed': { code: 'QUOTE_SIGNATURE_INVALID', quote: flip((at) => at.body + 150) },
  'user-data-changed': { code: 'QUOTE_SIGNATURE_INVALID', quote: flip(() => 30) },
  'quote-signature-changed': { code: 'QUOTE_SIGNATURE_INVALID', quote: flip((at) => at.signature) },
  'quote-signature-zero': {
    code: 'QUOTE_SIGNATURE_INVALID',
    quote: (quote, { signature }) => Uint8Array.from(quote).fill(0, signature, signature + 64),
  },
  'attestation-key-off-curve': {
    code: 'QUOTE_SIGNATURE_INVALID',
    parts: () => ({ attestationPoint: new Uint8Array(64).fill(1) }),
  },

  'pce-id': { code: 'TCB_INFO_MISMATCH', parts: leaf(() => ({ fields: { pceId: Uint8Array.of(0, 1) } })) },
  'qe-signer': { code: 'QE_IDENTITY_MISMATCH', parts: qe({ mr_signer: new Uint8Array(32).fill(1) }) },
  'qe-product': { code: 'QE_IDENTITY_MISMATCH', parts: qe({ isv_prod_id: u16(99) }) },
  'qe-misc-select': { code: 'QE_IDENTITY_MISMATCH', parts: qe({ misc_select: u32(1) }) },
  'qe-attributes': { code: 'QE_IDENTITY_MISMATCH', parts: qe({ flags: Uint8Array.of(0x31) }) },
  'qe-debug': { code: 'QE_IDENTITY_MISMATCH', parts: qe({ flags: Uint8Array.of(0x13) }) },
  'seam-signer': {
    code: 'TDX_MODULE_MISMATCH',
    of: 'tdx',
    parts: td({ mrsigner_seam: new Uint8Array(48).fill(1) }),
  },
  'seam-attributes': {
    code: 'TDX_MODULE_MISMATCH',
    of: 'tdx',
    parts: td({ seam_attributes: Uint8Array.of(1) }),
  },
  'module-version': {
    code: 'TDX_MODULE_MISMATCH',
    of: 'tdx',
    parts: td({ tcb_svn: Uint8Array.of(5, 7, 9) }),
  },
  'current-module-version': {
    code: 'TDX_MODULE_MISMATCH',
    of: 'v5',
    parts: td({ tee_tcb_svn2: Uint8Array.of(5, 7, 9) }),
  },
  'component-low': {
    code: 'TCB_LEVEL_UNSUPPORTED',
    parts: leaf(({ pckFields }) => ({ fields: { components: [0, ...pckFields.components.slice(1)] } })),
  },
  'pce-svn-low': { code: 'TCB_LEVEL_UNSUPPORTED', parts: leaf(() => ({ fields: { pceSvn: 1 } })) },
  'tdx-component-low': {
    code: 'TCB_LEVEL_UNSUPPORTED',
    of: 'tdx',
    parts: td({ tcb_svn: Uint8Array.of(5, 3, 2) }),
  },
  'module-svn-low': {
    code: 'TCB_LEVEL_UNSUPPORTED',
    of: 'tdx',
    parts: td({ tcb_svn: Uint8Array.of(0, 3, 9) }),
  },
  'qe-svn-low': { code: 'TCB_LEVEL_UNSUPPORTED', parts: qe({ isv_svn: u16(0) }) },
  'current-level-low': {
    code: 'TCB_LEVEL_UNSUPPORTED',
    of: 'v5',
    parts: td({ tee_tcb_svn2: Uint8Array.of(5, 3, 2) }),
  },
  'platform-revoked': { code: 'TCB_REVOKED', parts: leaf(() => ({ fields: { pceSvn: 5 } })) },
  'module-revoked': { code: 'TCB_REVOKED', of: 'tdx', parts: td({ tcb_svn: Uint8Array.of(1, 3, 9) }) },
  'qe-revoked': { code: 'TCB_REVOKED', parts: qe({ isv_svn: u16(1) }) },
  'current-revoked': { code: 'TCB_REVOKED', of: 'v5', parts: td({ tee_tcb_svn2: Uint8Array.of(5, 3, 3) }) },
  'td-debug': { code: 'DEBUG_NOT_ALLOWED', of: 'tdx', parts: td({ td_attributes: Uint8Array.of(1) }) },
  'td-other-tud-bit': {
    code: 'DEBUG_NOT_ALLOWED',
    of: 'tdx',
    parts: td({ td_attributes: Uint8Array.of(0x80) }),
  },
  'enclave-debug': {
    code: 'DEBUG_NOT_ALLOWED',
    of: 'sgx',
    parts: ({ enclave }) => ({ enclave: { fields: { ...enclave?.fields, flags: Uint8Array.of(0x07) } } }),
  },
} satisfies Record<string, Defect>

export type QuoteDefect = keyof typeof defects

/** Every defect, with the reason for which it must be refused and the quotes that can have it. */
export const quoteDefects: readonly {
  readonly name: QuoteDefect
  readonly code: string
  readonly of?: Defect['of']
}[] = Object.entries(defects as Record<string, Defect>).map(([name, { code, of }]) => ({
  name: name as QuoteDefect,
  code,
  ...(of === undefined ? {} : { of }),
}))

export function applyToParts(name: QuoteDefect, parts: QuoteParts, context: Context): QuoteParts {
  const defect: Defect = defects[name]
  return { ...parts, ...defect.parts?.(parts, context) }
}

export function applyToQuote(
  name: QuoteDefect,
  encoded: { quote: Uint8Array; offsets: QuoteOffsets },
): Uint8Array {
  const defect: Defect = defects[name]
  return defect.quote?.(encoded.quote, encoded.offsets) ?? encoded.quote
}

/** Members of the SGX extension that belong to the other CA. */
function otherPlatformMembers(ca: 'platform' | 'processor'): Partial<PckFields> {
  if (ca === 'platform') return { platform: undefined }
  return { platform: { instanceId: new Uint8Array(16), dynamic: false, cachedKeys: false, smt: false } }
}
