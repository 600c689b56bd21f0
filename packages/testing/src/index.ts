export * from './csv/fake-hygon-key-service.ts'
export {
  type CsvEvidenceDefect,
  type CsvEvidenceOptions,
  createVirtualHygonChip,
  createVirtualHygonRoot,
  type HygonCertificateDefect,
  type VirtualHygonChip,
  type VirtualHygonChipOptions,
  type VirtualHygonRoot,
  virtualCsvMeasure,
} from './csv/virtual-hygon-chip.ts'
export * from './eventlog/guest-boot.ts'
export { type TcgBank, type TcgEvent, tcgEventType } from './eventlog/tcg-event.ts'
export * from './eventlog/virtual-event-log.ts'
