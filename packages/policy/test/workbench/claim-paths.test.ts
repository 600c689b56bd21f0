import { describe, expect, it } from 'vitest'
import { annotatedEvidence, differences, inputOfRecord, tokenClaims } from '../../src/index.ts'
import { hasVectors, recordedClaims, recordedTees, tokenWith } from './recorded-claims.ts'

describe.skipIf(!hasVectors).each(recordedTees)('the claims that the catalogue has of %s', (tee) => {
  it.each(hasVectors ? recordedClaims(tee) : [])('are those of %s, all and no others', (_name, claims) => {
    const input = inputOfRecord(claims, 'attestation', { tee })
    expect(differences(annotatedEvidence, input)).toEqual([])
    expect(differences(tokenClaims, tokenWith(tee, claims))).toEqual([])
  })
})
