import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFolder, startAttestationService, type TestService } from './fixtures.ts'
import { connect, reference, type TrusteeKbs } from './trustee-kbs.ts'

describe('a service that takes signed reference values only', () => {
  let folder: Awaited<ReturnType<typeof openFolder>>
  let service: TestService
  let kbs: TrusteeKbs
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = { type: 'pkcs8', format: 'pem' } as const
  beforeAll(async () => {
    folder = await openFolder()
    const spki = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const trusted = await folder.write('signer.pub', spki)
    service = await startAttestationService({
      attestation_service: { rvps_config: { trusted_keys: [trusted], require_signed: true } },
    })
    kbs = connect(service.grpc)
  }, 30_000)
  afterAll(async () => {
    kbs?.client.close()
    await service?.close()
    await folder?.close()
  })
  const register = (message: string) => kbs.call(reference, 'RegisterReferenceValue', { message })
  const sample = JSON.stringify({
    type: 'sample',
    payload: Buffer.from('{"signed":["1"]}').toString('base64'),
  })

  it('takes what was signed with the commands of the documentation', async () => {
    const document = await readFile(
      new URL('../../../docs/remote-attestation-service.md', import.meta.url),
      'utf8',
    )
    const commands = /```sh\n(type=[\s\S]*?)```/.exec(document)?.[1] ?? 'false'
    const values = await folder.write('values.json', sample)
    const cwd = values.slice(0, values.lastIndexOf('/'))
    await folder.write('signer.key', privateKey.export(pem).toString())
    execFileSync('bash', ['-euc', commands], { cwd })
    await register(await readFile(`${cwd}/message.json`, 'utf8'))
    const answer = await kbs.call(reference, 'QueryReferenceValue', { reference_value_id: 'signed' })
    expect(answer).toEqual({ reference_value_results: '["1"]' })
  })

  it('refuses what nobody has signed', async () => {
    await expect(register(sample)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('must be signed'),
    })
  })

  it('does not start with a key that it cannot use', async () => {
    const file = await folder.write('private.pem', privateKey.export(pem).toString())
    await expect(
      startAttestationService({ attestation_service: { rvps_config: { trusted_keys: [file] } } }),
    ).rejects.toThrow(/trusted_keys\[0\].*private key/)
  })
})
