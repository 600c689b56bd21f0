/** The ways in which a virtual Azure TDX VM can be wrong beyond those of its vTPM and its TD quote. */
import { randomBytes } from 'node:crypto'
import type { JsonObject } from '@passport-kbs/protocol'
import { azureSnpDefects } from '../az-snp-vtpm/azure-snp-defects.ts'

export interface AzureTdxDefect {
  /** Report data of TD quote and TDREPORT, from the hash of the variable data. */
  readonly reportData?: (hash: Uint8Array) => Uint8Array
  readonly tdReport?: (report: Buffer) => Uint8Array
  readonly hcl?: (report: Buffer) => Uint8Array
  /** After signing. */
  readonly tdQuote?: (quote: Buffer) => Uint8Array
  readonly evidence?: (evidence: JsonObject) => void
}

const changedAt = (offset: number) => (report: Buffer) => {
  report[offset] = (report[offset] ?? 0) ^ 1
  return report
}

// The envelope is that of SNP but for the type, and the paravisor binds the user data in the same way.
const shared = {
  'hcl-short': azureSnpDefects['hcl-short'],
  'hcl-magic': azureSnpDefects['hcl-magic'],
  'hcl-variable-size-one-more': azureSnpDefects['hcl-variable-size-one-more'],
  'hcl-report-size-differs': azureSnpDefects['hcl-report-size-differs'],
  'hcl-type-unknown': azureSnpDefects['hcl-type-unknown'],
  'hcl-hash-type-2': azureSnpDefects['hcl-hash-type-2'],
  'variable-data-changed': azureSnpDefects['variable-data-changed'],
  'user-data-zero': azureSnpDefects['user-data-zero'],
  'user-data-trailing-garbage': azureSnpDefects['user-data-trailing-garbage'],
  'user-data-missing': azureSnpDefects['user-data-missing'],
  'user-data-not-hex': azureSnpDefects['user-data-not-hex'],
  'version-3': azureSnpDefects['version-3'],
} as const

const own = {
  'hcl-type-snp': {
    hcl: (report) => {
      report.writeUInt32LE(2, 0x4c8)
      return report
    },
  },
  'td-quote-empty': { tdQuote: () => new Uint8Array() },
  'td-quote-too-large': { tdQuote: (quote) => Buffer.concat([quote, Buffer.alloc(65_536)]) },
  'td-quote-cut': { tdQuote: (quote) => quote.subarray(0, 600) },
  'td-quote-of-sgx': {
    tdQuote: (quote) => {
      quote.writeUInt16LE(3, 0)
      return quote
    },
  },
  'report-data-other': { reportData: () => randomBytes(32) },
  'report-data-tail': { reportData: (hash) => Buffer.concat([hash, Uint8Array.of(1)]) },
  'td-report-type': { tdReport: changedAt(0) },
  'td-report-report-data': { tdReport: changedAt(0x080) },
  'td-report-attributes': { tdReport: changedAt(0x200) },
  'td-report-xfam': { tdReport: changedAt(0x208) },
  'td-report-mr-td': { tdReport: changedAt(0x210) },
  'td-report-mr-config-id': { tdReport: changedAt(0x240) },
  'td-report-mr-owner': { tdReport: changedAt(0x270) },
  'td-report-mr-owner-config': { tdReport: changedAt(0x2a0) },
  'td-report-rtmr-0': { tdReport: changedAt(0x2d0) },
  'td-report-rtmr-3': { tdReport: changedAt(0x360 + 47) },
  'td-report-area-tail': { tdReport: (report) => Buffer.concat([report, Uint8Array.of(1)]) },
  'td-quote-missing': {
    evidence: (evidence) => {
      delete evidence.td_quote
    },
  },
  'td-quote-as-array': {
    evidence: (evidence) => {
      evidence.td_quote = [4, 0]
    },
  },
} as const satisfies Readonly<Record<string, AzureTdxDefect>>

/** Every defect by name. */
export const azureTdxDefects = { ...shared, ...own } as const
