/** A virtual Azure confidential VM on SEV-SNP: paravisor, vTPM and firmware that really sign (spec 03 §9, Annex B). */
import { type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'
import type { VirtualAmdRoots } from '../amd/authorities.ts'
import { type SnpDefect, snpLeafDefects, snpReportDefects } from '../snp/snp-defects.ts'
import {
  createVirtualSnpMachine,
  type VirtualSnpMachine,
  type VirtualSnpMachineOptions,
} from '../snp/virtual-snp-machine.ts'
import { writeHclReport } from '../vtpm/hcl-report-writer.ts'
import {
  createVirtualVtpm,
  sha256,
  type VirtualVtpm,
  type VtpmDefect,
  vtpmDefects,
} from '../vtpm/virtual-vtpm.ts'
import { pem } from '../x509/certificate-writer.ts'
import { type AzureSnpDefect, azureSnpDefects } from './azure-snp-defects.ts'

/** Defects of the hardware report and of the VCEK that also make sense on Azure. */
export type AzureSnpDefectName =
  | keyof typeof azureSnpDefects
  | keyof typeof vtpmDefects
  | keyof typeof snpReportDefects
  | keyof typeof snpLeafDefects

export interface VirtualAzureSnpVmOptions
  extends Pick<VirtualSnpMachineOptions, 'generation' | 'now' | 'authorityValidity'> {
  /** Which of the two fixed attestation keys the vTPM has. */
  readonly attestationKey?: 'tpm/vm' | 'tpm/otherVm'
}

export interface AzureSnpEvidenceOptions {
  /** 1 to 64 bytes. */
  readonly reportData: Uint8Array
  /** 32 bytes, extended into PCR 8. Default: PCR 8 is zero. */
  readonly initDataDigest?: Uint8Array
  /** Evidence format. Default 2. */
  readonly version?: 0 | 1 | 2
  /** Makes the evidence wrong in exactly this one way. */
  readonly defect?: AzureSnpDefectName
}

export interface VirtualAzureSnpVm {
  readonly machine: VirtualSnpMachine
  /** Trust roots in the shape that verifiers take. */
  readonly roots: VirtualAmdRoots
  /** Evidence of tee `az-snp-vtpm`. */
  evidence(options: AzureSnpEvidenceOptions): JsonObject
}

type Defect = Pick<SnpDefect, 'report' | 'leaf'> &
  Pick<AzureSnpDefect, 'rawReport' | 'hcl' | 'vcek' | 'evidence'> &
  VtpmDefect

/** Makes a VM with a chip and measurements of its own. */
export function createVirtualAzureSnpVm(options: VirtualAzureSnpVmOptions = {}): VirtualAzureSnpVm {
  const machine = createVirtualSnpMachine(options)
  const vtpm = createVirtualVtpm(options.attestationKey)
  return {
    machine,
    roots: machine.roots,
    evidence: (request) => azureEvidence(machine, vtpm, request),
  }
}

function azureEvidence(
  machine: VirtualSnpMachine,
  vtpm: VirtualVtpm,
  options: AzureSnpEvidenceOptions,
): JsonObject {
  const { reportData, initDataDigest, version = 2 } = options
  const defect = defectNamed(options.defect)
  const variableData = vtpm.variableData(version === 2 ? reportData : undefined, defect)
  const report = machine.report((draft) => {
    draft.reportData = Buffer.concat([sha256(variableData), Buffer.alloc(32)])
    defect.report?.(draft, machine)
  })
  defect.rawReport?.(report)
  const hcl = writeHclReport('snp', report, variableData)
  const hclReport = defect.hcl?.(hcl) ?? hcl
  const quote = vtpm.quote(reportData, initDataDigest, defect)
  const leaf =
    defect.leaf === undefined ? machine.endorsementCertificate : machine.endorsementCertificateWith(defect)
  const vcek = defect.vcek?.(Buffer.from(leaf)) ?? leaf
  const evidence =
    version === 0 ? versionZero(quote, hclReport, vcek) : hexForm(version, quote, hclReport, vcek)
  defect.evidence?.(evidence)
  return evidence
}

function defectNamed(name: AzureSnpDefectName | undefined): Defect {
  if (name === undefined) return {}
  const all: Readonly<Record<AzureSnpDefectName, Defect>> = {
    ...snpReportDefects,
    ...snpLeafDefects,
    ...vtpmDefects,
    ...azureSnpDefects,
  }
  return all[name]
}

type SentQuote = ReturnType<VirtualVtpm['quote']>

function hexForm(version: 1 | 2, quote: SentQuote, hclReport: Uint8Array, vcek: Uint8Array): JsonObject {
  const hex = (bytes: Uint8Array): JsonValue => Buffer.from(bytes).toString('hex')
  return jsonObject({
    version,
    tpm_quote: jsonObject({
      signature: hex(quote.signature),
      message: hex(quote.message),
      pcrs: quote.pcrs.map(hex),
    }),
    hcl_report: Buffer.from(hclReport).toString('base64url'),
    vcek: Buffer.from(vcek).toString('base64url'),
  })
}

function versionZero(quote: SentQuote, hclReport: Uint8Array, vcek: Uint8Array): JsonObject {
  return jsonObject({
    quote: jsonObject({
      signature: [...quote.signature],
      message: [...quote.message],
      pcrs: quote.pcrs.map((pcr) => [...pcr]),
    }),
    report: [...hclReport],
    vcek: pem('CERTIFICATE', vcek),
  })
}
