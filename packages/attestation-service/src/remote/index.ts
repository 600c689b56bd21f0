/** The attestation service over the network: what both sides speak, and the side that asks. */
export * from './proto.ts'
export { openTokenFile, type TokenFile, TokenFileError } from './token-file.ts'
