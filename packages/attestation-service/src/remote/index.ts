/** The attestation service over the network: what both sides speak, and the side that asks. */
export * from './proto.ts'
export type { RemoteKey, RemoteKeys } from './received-token.ts'
export { createRemoteAttestationService, type RemoteAttestationOptions } from './remote-service.ts'
export { openTokenFile, type TokenFile, TokenFileError } from './token-file.ts'
