import { createHash } from 'node:crypto'
import { defaultPck, type IntelAuthorities, issuePck } from './authorities.ts'
import { type Identity, newKey } from './certificate.ts'
import type { PckFields } from './pck-extension.ts'
import { applyToParts, applyToQuote, type QuoteDefect } from './quote-defects.ts'
import { encodeQuote, type QuoteParts, u16 } from './quote-parts.ts'
import type { EnclaveReportFields, TdReportFields } from './report.ts'

export interface PlatformOptions {
  readonly ca?: 'platform' | 'processor'
  /** 12 hex digits. */
  readonly fmspc?: string
  /** Replaces single members of the SGX extension. */
  readonly pck?: Partial<PckFields>
}

export interface TdQuoteOptions {
  readonly version?: 4 | 5
  /** Of version 5: TDX 1.0 or 1.5; 1.5 unless told. */
  readonly layout?: '1.0' | '1.5'
  /** Replaces single fields of the TD report; shorter values are followed by zeros. */
  readonly fields?: TdReportFields
  /** isv_svn of the TD quoting enclave; 4 is up to date. */
  readonly qeSvn?: number
  readonly authenticationData?: Uint8Array
  readonly defect?: QuoteDefect
}

export interface EnclaveQuoteOptions {
  readonly fields?: EnclaveReportFields
  readonly qeSvn?: number
  readonly authenticationData?: Uint8Array
  readonly defect?: QuoteDefect
}

/** One machine with SGX and TDX. */
export interface VirtualPlatform {
  readonly ca: 'platform' | 'processor'
  /** 12 lower-case hex digits. */
  readonly fmspc: string
  readonly pck: Identity
  readonly pckFields: PckFields
  /** A quote of a TD, version 4 unless told. */
  tdQuote(options?: TdQuoteOptions): Uint8Array
  /** A quote of an enclave, version 3. */
  enclaveQuote(options?: EnclaveQuoteOptions): Uint8Array
}

const intelVendorId = Buffer.from('939a7233f79c4ca9940a0db3957f0607', 'hex')

/** Signer and product of the quoting enclaves that the virtual collateral describes. */
export const qeSigner = digest('signer of the quoting enclaves')
export const qeProducts = { tdx: 2, sgx: 1 } as const

/** The measurement of the virtual TD and enclave: fixed, for reference values. */
export const virtualMrTd: Uint8Array = createHash('sha384').update('virtual TD').digest()
export const virtualMrEnclave = digest('virtual enclave')

export function createPlatform(authorities: IntelAuthorities, options: PlatformOptions): VirtualPlatform {
  const { ca = 'platform', fmspc = '90c06f000000' } = options
  const pckFields = { ...defaultPck(ca, Buffer.from(fmspc, 'hex')), ...options.pck }
  const pck = issuePck(authorities, ca, pckFields)
  const context = { authorities, ca, pckFields }
  const base = (qeSvn: number, tee: 'tdx' | 'sgx') => ({
    attestationKeyType: 2,
    vendorId: intelVendorId,
    userData: new Uint8Array(20).fill(0x11),
    attestationKey: newKey(),
    qe: quotingEnclave(tee, qeSvn),
    pckKey: pck.privateKey,
    chain: [pck.certificate, authorities[ca].certificate, authorities.root.certificate],
    chainSuffix: '\0',
    outerType: 6,
    innerType: 5,
  })
  const finish = (parts: QuoteParts, defect: QuoteDefect | undefined) => {
    if (defect === undefined) return encodeQuote(parts).quote
    return applyToQuote(defect, encodeQuote(applyToParts(defect, parts, context)))
  }
  return {
    ca,
    fmspc: fmspc.toLowerCase(),
    pck,
    pckFields,
    tdQuote({ version = 4, layout = '1.5', fields, qeSvn = 4, authenticationData, defect } = {}) {
      const used = version === 4 ? '1.0' : layout
      const parts: QuoteParts = {
        ...base(qeSvn, 'tdx'),
        version,
        teeType: 0x81,
        reserved: new Uint8Array(4),
        ...(version === 5 ? { bodyType: used === '1.0' ? 2 : 3 } : {}),
        td: { layout: used, fields: { ...defaultTd(used), ...fields } },
        authenticationData: authenticationData ?? Buffer.alloc(32, 0xa0),
      }
      return finish(parts, defect)
    },
    enclaveQuote({ fields, qeSvn = 4, authenticationData, defect } = {}) {
      const parts: QuoteParts = {
        ...base(qeSvn, 'sgx'),
        version: 3,
        teeType: 0,
        reserved: Buffer.concat([u16(8), u16(13)]),
        enclave: { fields: { ...defaultEnclave(), ...fields } },
        authenticationData: authenticationData ?? Buffer.alloc(32, 0xa0),
      }
      return finish(parts, defect)
    },
  }
}

/** A TD without debug on module version 3, SVN 5, late microcode 9: the highest levels of the virtual TCB info. */
function defaultTd(layout: '1.0' | '1.5'): TdReportFields {
  const tcbSvn = Uint8Array.of(5, 3, 9)
  return {
    tcb_svn: tcbSvn,
    td_attributes: Uint8Array.of(0, 0, 0, 0x10),
    xfam: Uint8Array.of(0xe7, 0x42, 0x06),
    mr_td: virtualMrTd,
    ...(layout === '1.5' ? { tee_tcb_svn2: tcbSvn } : {}),
  }
}

function defaultEnclave(): EnclaveReportFields {
  return {
    cpu_svn: new Uint8Array(16).fill(2),
    flags: Uint8Array.of(0x05),
    xfrm: Uint8Array.of(0xe7),
    mr_enclave: virtualMrEnclave,
    mr_signer: digest('signer of the virtual enclave'),
    isv_prod_id: u16(1),
    isv_svn: u16(2),
  }
}

function quotingEnclave(tee: 'tdx' | 'sgx', svn: number): EnclaveReportFields {
  return {
    flags: Uint8Array.of(0x11),
    xfrm: Uint8Array.of(0xe7),
    mr_enclave: digest('quoting enclave'),
    mr_signer: qeSigner,
    isv_prod_id: u16(qeProducts[tee]),
    isv_svn: u16(svn),
  }
}

function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
