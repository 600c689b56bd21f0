export * from './attestation-service.ts'
export {
  type AttestationServiceOptions,
  type BuiltInAttestationService,
  createAttestationService,
  type EvaluationRecord,
} from './builtin-service.ts'
export { type DefaultPolicyState, defaultPolicies } from './default-policies.ts'
export { discoveryDocument } from './discovery.ts'
export { profileClaim } from './ear.ts'
export { policyExtension } from './extensions.ts'
export { type InitData, readInitData } from './init-data.ts'
export { dssePayloadType } from './reference-values/dsse.ts'
export {
  type ReferenceValueTrust,
  readTrustedKey,
  TrustedKeyError,
} from './reference-values/trusted-keys.ts'
export { SigningKeyError, type TokenJwk } from './signing-key.ts'
export type { MintedSubmod, TokenBrokerOptions } from './token-broker.ts'
export { createTokenSigner, type TokenSigner, type TokenSignerOptions } from './token-signer.ts'
