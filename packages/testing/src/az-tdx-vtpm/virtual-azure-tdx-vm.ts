/** A virtual Azure confidential VM on TDX: paravisor, vTPM and platform that really sign (spec 03 §10, Annex B). */
import { randomBytes } from 'node:crypto'
import { type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'
import type { VirtualPlatform } from '../intel/platform.ts'
import type { QuoteDefect } from '../intel/quote-defects.ts'
import { encodeTdReport, type TdReportFields } from '../intel/report.ts'
import { writeHclReport } from '../vtpm/hcl-report-writer.ts'
import {
  createVirtualVtpm,
  sha256,
  type VirtualVtpm,
  type VtpmDefect,
  vtpmDefects,
} from '../vtpm/virtual-vtpm.ts'
import { type AzureTdxDefect, azureTdxDefects } from './azure-tdx-defects.ts'

export type AzureTdxDefectName = keyof typeof azureTdxDefects | keyof typeof vtpmDefects

export interface AzureTdxEvidenceOptions {
  /** 1 to 64 bytes. */
  readonly reportData: Uint8Array
  /** 32 bytes, extended into PCR 8. Default: PCR 8 is zero. */
  readonly initDataDigest?: Uint8Array
  /** Evidence format. Default 2. */
  readonly version?: 0 | 1 | 2
  /** Version of the TD quote; Azure has 4. */
  readonly quoteVersion?: 4 | 5
  /** Replaces single fields of the TD report, e.g. `tcb_svn` for another TCB level. */
  readonly fields?: TdReportFields
  /** Makes the evidence wrong in exactly this one way. */
  readonly defect?: AzureTdxDefectName
  /** Makes the TD quote wrong in this one way instead. */
  readonly quoteDefect?: QuoteDefect
}

export interface VirtualAzureTdxVm {
  readonly platform: VirtualPlatform
  /** Evidence of tee `az-tdx-vtpm`. */
  evidence(options: AzureTdxEvidenceOptions): JsonObject
}

/** Makes a VM on the given platform, with measurements of its own. */
export function createVirtualAzureTdxVm(
  platform: VirtualPlatform,
  attestationKey?: 'tpm/vm' | 'tpm/otherVm',
): VirtualAzureTdxVm {
  const vtpm = createVirtualVtpm(attestationKey)
  return { platform, evidence: (options) => azureEvidence(platform, vtpm, options) }
}

function azureEvidence(
  platform: VirtualPlatform,
  vtpm: VirtualVtpm,
  options: AzureTdxEvidenceOptions,
): JsonObject {
  const { reportData, initDataDigest, version = 2, quoteVersion = 4, quoteDefect } = options
  const defect = defectNamed(options.defect)
  const variableData = vtpm.variableData(version === 2 ? reportData : undefined, defect)
  // On Azure the registers and configuration ids of the TD are zero: the vTPM measures the guest.
  const td: TdReportFields = {
    mr_td: tdMeasurement,
    xfam: Uint8Array.of(0xe7, 0x18, 0x06),
    td_attributes: Uint8Array.of(0),
  }
  const fields = {
    ...td,
    ...options.fields,
    report_data: defect.reportData?.(sha256(variableData)) ?? sha256(variableData),
  }
  const tdQuote = platform.tdQuote({
    version: quoteVersion,
    layout: '1.0',
    fields,
    ...(quoteDefect === undefined ? {} : { defect: quoteDefect }),
  })
  const tdReport = encodeTdReportStruct(fields)
  const hcl = writeHclReport('tdx', defect.tdReport?.(tdReport) ?? tdReport, variableData)
  const sent = {
    quote: vtpm.quote(reportData, initDataDigest, defect),
    hclReport: defect.hcl?.(hcl) ?? hcl,
    tdQuote: defect.tdQuote?.(Buffer.from(tdQuote)) ?? tdQuote,
  }
  const evidence = version === 0 ? arrayForm(sent) : textForm(version, sent)
  defect.evidence?.(evidence)
  return evidence
}

const tdMeasurement = Uint8Array.from({ length: 48 }, (_unused, index) => index)

function defectNamed(name: AzureTdxDefectName | undefined): AzureTdxDefect & VtpmDefect {
  if (name === undefined) return {}
  const all: Readonly<Record<AzureTdxDefectName, AzureTdxDefect & VtpmDefect>> = {
    ...vtpmDefects,
    ...azureTdxDefects,
  }
  return all[name]
}

/** TDREPORT_STRUCT, 1024 bytes: REPORTMACSTRUCT, TEE_TCB_INFO, TDINFO (Intel TDX module ABI). */
function encodeTdReportStruct(fields: TdReportFields): Buffer {
  const report = Buffer.alloc(1024)
  report[0] = 0x81
  report.set(fields.report_data ?? [], 0x080)
  report.set(randomBytes(32), 0x0e0)
  // TDINFO has the fields of the quoted report from TD ATTRIBUTES on, in the same order, up to the report data
  report.set(encodeTdReport(fields, '1.0').subarray(120, 520), 0x200)
  return report
}

interface SentParts {
  readonly quote: ReturnType<VirtualVtpm['quote']>
  readonly hclReport: Uint8Array
  readonly tdQuote: Uint8Array
}

function textForm(version: 1 | 2, { quote, hclReport, tdQuote }: SentParts): JsonObject {
  const hex = (bytes: Uint8Array): JsonValue => Buffer.from(bytes).toString('hex')
  return jsonObject({
    version,
    tpm_quote: jsonObject({
      signature: hex(quote.signature),
      message: hex(quote.message),
      pcrs: quote.pcrs.map(hex),
    }),
    hcl_report: Buffer.from(hclReport).toString('base64url'),
    td_quote: Buffer.from(tdQuote).toString('base64url'),
  })
}

function arrayForm({ quote, hclReport, tdQuote }: SentParts): JsonObject {
  return jsonObject({
    tpm_quote: jsonObject({
      signature: [...quote.signature],
      message: [...quote.message],
      pcrs: quote.pcrs.map((pcr) => [...pcr]),
    }),
    hcl_report: [...hclReport],
    td_quote: [...tdQuote],
  })
}
