/** The attestation service over the network: what both sides speak, and the side that asks. */
export type { RemoteAddress, RemoteTrust } from './connections.ts'
export * from './proto.ts'
export type { RemoteKey, RemoteKeys } from './received-token.ts'
export {
  openRemoteReferenceValues,
  type RemoteReferenceValues,
  type RemoteReferenceValuesOptions,
} from './remote-reference-values.ts'
export { createRemoteAttestationService, type RemoteAttestationOptions } from './remote-service.ts'
export {
  type AcceptedTokens,
  openAcceptedTokens,
  openTokenFile,
  type TokenFile,
  TokenFileError,
} from './token-file.ts'
