export {
  type FakeIntelTrustAuthority,
  type IntelCall,
  type IntelFailure,
  startFakeIntelTrustAuthority,
} from './fake-intel-trust-authority.ts'
export {
  type IntelSigningKey,
  type IntelTokenDraft,
  makeSigningAuthorities,
  makeSigningKey,
  signIntelToken,
} from './intel-token.ts'
