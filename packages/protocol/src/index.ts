export {
  type AttestationPolicyMessage,
  attestationPolicyBody,
  parseAttestationPolicyMessage,
  parseReferenceValueMessage,
  parseResourcePolicyMessage,
  parseSamplePayload,
  type ReferenceValueMessage,
  resourcePolicyBody,
  sampleReferenceValueBody,
} from './admin-messages.ts'
export {
  type AnnotatedEvidence,
  type EarClaims,
  type EarSubmod,
  earSchema,
  findTeePublicKey,
  initDataClaimsPointer,
  parseEarClaims,
  parseTokenClaims,
  type TokenClaims,
  type TrustClaimName,
  type TrustTier,
  type TrustVector,
  teeKeyPointers,
  trustClaimNames,
  trustTier,
  trustTiers,
  worstTier,
} from './ear.ts'
export {
  decodeBase64,
  decodeBase64Url,
  decodeBase64UrlNoPad,
  decodeHex,
  decodeUtf8,
  EncodingError,
  encodeBase64,
  encodeBase64Url,
  encodeHex,
  encodeUtf8,
} from './encoding.ts'
export { canonicalJson } from './jcs.ts'
export {
  isJsonObject,
  JsonDecimal,
  type JsonLimits,
  type JsonObject,
  JsonSyntaxError,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
} from './json.ts'
export { resolvePointer } from './json-pointer.ts'
export { JweError, type JweResponse, openWithTeeKey, parseJweResponse, sealForTee } from './jwe.ts'
export { MessageError } from './message-schema.ts'
export {
  type AttestRequest,
  type AuthRequest,
  attestRequestBody,
  authRequestBody,
  type Challenge,
  challengeBody,
  messageLimits,
  parseAttestRequest,
  parseAuthRequest,
  parseChallenge,
  parseErrorInformation,
  parseTokenBody,
  protocolVersion,
  sessionCookieName,
  tokenBody,
} from './messages.ts'
export {
  type AdminVerb,
  adminRefusal,
  KbsProblem,
  ownProblemKinds,
  type ProblemFields,
  type ProblemKind,
  problemBody,
  problems,
  problemTypePrefix,
  trusteeProblemKinds,
} from './problem.ts'
export {
  deviceRuntimeData,
  type HashAlgorithm,
  hashAlgorithms,
  initDataDigest,
  parseHashAlgorithm,
  primaryRuntimeData,
  runtimeDataDigest,
} from './runtime-data.ts'
export { parseTee, type Tee, type TeeClass, teeClass, tees } from './tee.ts'
export {
  type AkpTeePublicKey,
  type EcCurve,
  type EcTeePublicKey,
  parseTeePublicKey,
  type RsaTeePublicKey,
  TeeKeyError,
  type TeeKeyPolicy,
  type TeePublicKey,
  teeKeyThumbprint,
} from './tee-key.ts'
export {
  exportTeePrivateKeyPem,
  generateTeeKeyPair,
  importTeePrivateKeyPem,
  type TeeKeyKind,
  type TeePrivateKey,
  teeKeyKinds,
} from './tee-private-key.ts'
