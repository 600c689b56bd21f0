/** The ways in which a virtual Azure VM can be wrong beyond those of its vTPM and its processor. */
import { randomBytes } from 'node:crypto'
import type { JsonObject } from '@passport-kbs/protocol'
import type { ReportDraft } from '../amd/report-writer.ts'
import type { VariableDataDraft } from '../vtpm/virtual-vtpm.ts'

export interface AzureSnpDefect {
  readonly variableData?: (draft: VariableDataDraft) => void
  readonly report?: (report: ReportDraft) => void
  /** The 1184 signed bytes, after signing. */
  readonly rawReport?: (report: Buffer) => void
  readonly hcl?: (report: Buffer) => Uint8Array
  readonly vcek?: (der: Buffer) => Uint8Array
  readonly evidence?: (evidence: JsonObject) => void
}

function withU32(at: number, value: number): (report: Buffer) => Buffer {
  return (report) => {
    report.writeUInt32LE(value, at)
    return report
  }
}

function withU32Changed(at: number, change: number): (report: Buffer) => Buffer {
  return (report) => withU32(at, report.readUInt32LE(at) + change)(report)
}

const hclDefects = {
  'hcl-short': { hcl: (report) => report.subarray(0, 0x4d3) },
  'hcl-magic': { hcl: withU32(0, 0x41_43_4c_49) },
  'hcl-variable-size-zero': { hcl: withU32(0x4d0, 0) },
  'hcl-variable-size-one-more': { hcl: withU32Changed(0x4d0, 1) },
  'hcl-data-size-differs': { hcl: withU32Changed(0x4c0, 1) },
  'hcl-report-size-differs': { hcl: withU32Changed(8, 1) },
  'hcl-variable-data-past-end': { hcl: (report) => report.subarray(0, 0x4d4 + 100) },
  'hcl-type-tdx': { hcl: withU32(0x4c8, 4) },
  'hcl-type-unknown': { hcl: withU32(0x4c8, 3) },
  'hcl-hash-type-0': { hcl: withU32(0x4cc, 0) },
  'hcl-hash-type-2': { hcl: withU32(0x4cc, 2) },
  'hcl-hash-type-max': { hcl: withU32(0x4cc, 0xffff_ffff) },
  'variable-data-changed': {
    hcl: (report) =>
      Buffer.from(report.toString('latin1').replace('"secure-boot":true', '"secure-boot":null'), 'latin1'),
  },
} as const satisfies Readonly<Record<string, AzureSnpDefect>>

const reportDefects = {
  'hardware-report-data-tail': {
    report: (report) => {
      report.reportData = Buffer.concat([report.reportData.subarray(0, 32), randomBytes(32)])
    },
  },
  'hardware-report-data-other': {
    report: (report) => {
      report.reportData = Buffer.concat([randomBytes(32), Buffer.alloc(32)])
    },
  },
  'raw-reserved-byte': {
    rawReport: (report) => {
      report[0x250] = 1
    },
  },
  'raw-signature-padding': {
    rawReport: (report) => {
      report[0x400] = 1
    },
  },
  'raw-measurement-byte': {
    rawReport: (report) => {
      report[0x90] = (report[0x90] ?? 0) ^ 1
    },
  },
  'vlek-named': {
    report: (report) => {
      report.keyInfo = 1 << 2
    },
  },
} as const satisfies Readonly<Record<string, AzureSnpDefect>>

const formDefects = {
  'user-data-zero': {
    variableData: (draft) => {
      draft.userData = '00'.repeat(64)
    },
  },
  'user-data-trailing-garbage': {
    variableData: (draft) => {
      draft.userData = `${draft.userData?.slice(0, -2)}01`
    },
  },
  'user-data-missing': {
    variableData: (draft) => {
      draft.userData = undefined
    },
  },
  'user-data-odd': {
    variableData: (draft) => {
      draft.userData = draft.userData?.slice(0, -1)
    },
  },
  'user-data-63-bytes': {
    variableData: (draft) => {
      draft.userData = draft.userData?.slice(0, -2)
    },
  },
  'user-data-not-hex': {
    variableData: (draft) => {
      draft.userData = 'zz'.repeat(64)
    },
  },
  'vcek-trailing-byte': { vcek: (der) => Buffer.concat([der, Uint8Array.of(0)]) },
  'vcek-truncated': { vcek: (der) => der.subarray(0, 800) },
  'version-3': {
    evidence: (evidence) => {
      evidence.version = 3
    },
  },
  'hcl-report-with-space': {
    evidence: (evidence) => {
      evidence.hcl_report = ` ${String(evidence.hcl_report)}`
    },
  },
} as const satisfies Readonly<Record<string, AzureSnpDefect>>

/** Every defect by name. */
export const azureSnpDefects = {
  ...hclDefects,
  ...reportDefects,
  ...formDefects,
} as const satisfies Readonly<Record<string, AzureSnpDefect>>
