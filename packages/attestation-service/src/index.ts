export * from './attestation-service.ts'
export {
  type AttestationServiceOptions,
  type BuiltInAttestationService,
  createAttestationService,
  type EvaluationRecord,
  type TokenBroker,
} from './builtin-service.ts'
export { type DefaultPolicyState, defaultPolicies } from './default-policies.ts'
export { discoveryDocument } from './discovery.ts'
export { profileClaim } from './ear.ts'
export { policyExtension } from './extensions.ts'
export { type InitData, readInitData } from './init-data.ts'
export { SigningKeyError, type TokenJwk } from './signing-key.ts'
export { createTokenSigner, type TokenSigner, type TokenSignerOptions } from './token-signer.ts'
