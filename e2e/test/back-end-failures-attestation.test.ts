import { describe } from 'vitest'
import { attestationBackEnds } from '../src/back-ends/attestation-back-ends.ts'
import { tryBackEnd } from './back-end-trial.ts'

describe('a back end of attestation', { concurrent: true }, () => {
  for (const row of attestationBackEnds) tryBackEnd(row, () => undefined)
})
