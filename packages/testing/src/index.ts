export {
  rootBundle,
  type Validity,
  type VirtualAmdRoots,
  type VirtualCrlOptions,
  type VirtualGeneration,
  virtualAmdRoots,
  virtualCrl,
  virtualGenerations,
} from './amd/authorities.ts'
export {
  type EndorsementDraft,
  type EndorsementKind,
  writeEndorsementCertificate,
} from './amd/endorsement-key.ts'
export {
  currentCrl,
  type FakeKds,
  type FakeKdsOptions,
  type KdsFailure,
  startFakeKds,
} from './amd/fake-kds.ts'
export type { ReportDraft, VirtualTcb } from './amd/report-writer.ts'
export { azureSnpDefects } from './az-snp-vtpm/azure-snp-defects.ts'
export {
  type AzureSnpDefectName,
  type AzureSnpEvidenceOptions,
  createVirtualAzureSnpVm,
  type VirtualAzureSnpVm,
  type VirtualAzureSnpVmOptions,
} from './az-snp-vtpm/virtual-azure-snp-vm.ts'
export { azureTdxDefects } from './az-tdx-vtpm/azure-tdx-defects.ts'
export {
  type AzureTdxDefectName,
  type AzureTdxEvidenceOptions,
  createVirtualAzureTdxVm,
  type VirtualAzureTdxVm,
} from './az-tdx-vtpm/virtual-azure-tdx-vm.ts'
export * from './csv/fake-hygon-key-service.ts'
export {
  type CsvEvidenceDefect,
  type CsvEvidenceOptions,
  createVirtualHygonChip,
  createVirtualHygonRoot,
  csvEvidenceDefects,
  type HygonCertificateDefect,
  type HygonChipKeys,
  hygonCertificateDefects,
  type VirtualHygonChip,
  type VirtualHygonChipOptions,
  type VirtualHygonRoot,
  virtualCsvMeasure,
} from './csv/virtual-hygon-chip.ts'
export * from './eventlog/guest-boot.ts'
export { type TcgBank, type TcgEvent, tcgEventType } from './eventlog/tcg-event.ts'
export * from './eventlog/virtual-event-log.ts'
export * from './intel/index.ts'
export { sampleDeviceEvidence, sampleEvidence } from './sample/sample-evidence.ts'
export { type EnclaveEvidenceOptions, enclaveEvidence } from './sgx/enclave-evidence.ts'
export {
  type SnpDefect,
  type SnpDefectName,
  snpDefects,
  snpLeafDefects,
  snpReportDefects,
  wrapHwid,
} from './snp/snp-defects.ts'
export {
  createVirtualSnpMachine,
  type SnpEvidenceOptions,
  type VirtualSnpMachine,
  type VirtualSnpMachineOptions,
} from './snp/virtual-snp-machine.ts'
export { type TdEvidenceOptions, tdEvidence } from './tdx/td-evidence.ts'
export { writeHclReport } from './vtpm/hcl-report-writer.ts'
export { marshalSignature } from './vtpm/tpm-quote-writer.ts'
export {
  createVirtualVtpm,
  type VirtualVtpm,
  type VtpmDefect,
  type VtpmDefectName,
  vtpmDefects,
} from './vtpm/virtual-vtpm.ts'
export { pem } from './x509/certificate-writer.ts'
