export type { CollateralOptions, ServedCollateral, ServedDocument } from './collateral.ts'
export { type CollateralDefect, collateralDefects } from './collateral-defects.ts'
export { type PcsFailure, type PcsServerOptions, startVirtualPcs, type VirtualPcs } from './pcs-server.ts'
export { pcsToolFile, type ToolFilePlatform } from './pcs-tool-file.ts'
export {
  type EnclaveQuoteOptions,
  type PlatformOptions,
  type TdQuoteOptions,
  type VirtualPlatform,
  virtualMrEnclave,
  virtualMrTd,
} from './platform.ts'
export { type QuoteDefect, quoteDefects } from './quote-defects.ts'
export { createVirtualIntel, type VirtualIntel } from './virtual-intel.ts'
