import { type IntelAuthorities, makeAuthorities } from './authorities.ts'
import { type CollateralOptions, makeCollateral, type ServedCollateral } from './collateral.ts'
import { createPlatform, type PlatformOptions, type VirtualPlatform } from './platform.ts'

/** A vendor with a root of its own: nothing that it signs is believed but by who pins its root. */
export interface VirtualIntel {
  /** DER, to be pinned in place of Intel's. */
  readonly rootCertificate: Uint8Array
  readonly authorities: IntelAuthorities
  platform(options?: PlatformOptions): VirtualPlatform
  /** Collateral under which `platform()` is up to date, unless the options say otherwise. */
  collateral(options?: CollateralOptions): ServedCollateral
}

/** @param now certificates begin years before and end years behind it; collateral is one day old and lives 30 days */
export function createVirtualIntel(now: Date): VirtualIntel {
  const authorities = makeAuthorities(now)
  return {
    rootCertificate: authorities.root.certificate,
    authorities,
    platform: (options = {}) => createPlatform(authorities, options),
    collateral: (options = {}) => makeCollateral(authorities, options),
  }
}
