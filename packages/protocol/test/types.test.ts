import { expectTypeOf, it } from 'vitest'
import {
  findTeePublicKey,
  generateTeeKeyPair,
  type JsonValue,
  type parseAttestRequest,
  parseTee,
  sealForTee,
  type Tee,
  type TeePublicKey,
} from '../src/index.ts'

/** Checked by the compiler: what has passed a check has a type that says so. */
it('types tell checked values from unchecked ones', () => {
  const { publicKey } = generateTeeKeyPair()
  expectTypeOf(findTeePublicKey).returns.toEqualTypeOf<TeePublicKey | undefined>()
  expectTypeOf(parseTee).returns.toEqualTypeOf<Tee | undefined>()
  expectTypeOf<
    ReturnType<typeof parseAttestRequest>['runtimeData']['teePublicKey']
  >().toEqualTypeOf<TeePublicKey>()
  expectTypeOf<ReturnType<typeof parseAttestRequest>['primaryEvidence']>().toEqualTypeOf<JsonValue>()
  const { kty, alg, jwk, key } = publicKey
  // @ts-expect-error a key that no parser has checked is none
  expectTypeOf(sealForTee).toBeCallableWith({ kty, alg, jwk, key }, new Uint8Array())
  expectTypeOf(sealForTee).toBeCallableWith(publicKey, new Uint8Array())
  if (publicKey.kty === 'EC') expectTypeOf(publicKey.crv).toEqualTypeOf<'P-256' | 'P-521'>()
})
