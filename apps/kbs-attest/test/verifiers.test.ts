import { builtInAttestation, createLogger, parseConfig } from '@passport-kbs/service'
import { describe, expect, it } from 'vitest'
import { openVerifiers } from '../src/verifiers.ts'

const logger = createLogger({ program: 'test', env: {}, level: 'silent' })

async function teesOf(profile: 'production' | 'development'): Promise<string[]> {
  const document = { http_server: { insecure_http: true }, admin: { authorization_mode: 'DenyAll' } }
  const config = parseConfig('kbs-attest', document, { KBS_PROFILE: profile })
  const { verifiers, close } = await openVerifiers(builtInAttestation(config).verifierConfig, profile, logger)
  close()
  return [...verifiers.keys()].sort()
}

describe('the verifiers of KBS1', () => {
  const hardware = ['az-snp-vtpm', 'az-tdx-vtpm', 'csv', 'sgx', 'snp', 'tdx', 'tpm']

  it('are those of hardware in production', async () => {
    expect(await teesOf('production')).toEqual(hardware)
  })

  it('are sample and its device as well in development only', async () => {
    expect(await teesOf('development')).toEqual([...hardware, 'sample', 'sampledevice'].sort())
  })
})
