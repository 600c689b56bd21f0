/** Intel Trust Authority as the attestation service: Intel verifies the evidence and mints the passport. */
export {
  createIntelTrustAuthority,
  type IntelTrustAuthorityOptions,
  intelTrustAuthorityIssuer,
} from './intel-trust-authority.ts'
export type { TokenVerifier } from './minted-token.ts'
