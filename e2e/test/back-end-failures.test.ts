import { afterAll, beforeAll, describe } from 'vitest'
import { attestationBackEnds } from '../src/back-ends/attestation-back-ends.ts'
import { secretServers } from '../src/back-ends/secret-servers.ts'
import { openSecretStage, type SecretStage } from '../src/back-ends/secret-stage.ts'
import { secretStores } from '../src/back-ends/secret-stores.ts'
import { tryBackEnd } from './back-end-trial.ts'

// in one file, and all rows at once: most of the time they wait

describe('a back end of attestation', { concurrent: true }, () => {
  for (const row of attestationBackEnds) tryBackEnd(row, () => undefined)
})

describe('a back end of secrets', { concurrent: true }, () => {
  let stage: SecretStage
  beforeAll(async () => {
    stage = await openSecretStage()
  }, 60_000)
  afterAll(() => stage?.close())

  for (const row of [...secretServers, ...secretStores]) tryBackEnd(row, () => stage)
})
