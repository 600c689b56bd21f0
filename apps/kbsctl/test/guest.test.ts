import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportTeePrivateKeyPem, generateTeeKeyPair } from '@passport-kbs/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Broker, startBroker, token } from './broker.ts'
import { kbsctl } from './kbsctl.ts'

let broker: Broker
let folder: string
const secret = `${Buffer.from('the secret').toString('base64')}\n`

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
  broker = await startBroker()
  await writeFile(join(folder, 'tee.pem'), exportTeePrivateKeyPem(generateTeeKeyPair('RSA-OAEP-256')))
})
afterAll(async () => {
  await broker.close()
  await rm(folder, { recursive: true })
})
afterEach(() => {
  broker.received.length = 0
})

const guest = (...args: string[]) => kbsctl(['--url', broker.url, ...args], { cwd: folder })

/** Spec 01 §6.3, §10. */
describe('attest', () => {
  it('prints the token for the key that was given', async () => {
    expect(await guest('attest', '--tee-key-file', 'tee.pem')).toEqual({
      status: 0,
      stdout: `${token}\n`,
      stderr: '',
    })
    expect(broker.received[1]?.body).toContain('"alg":"RSA-OAEP-256"')
    expect(broker.received[1]?.body).toContain('"init-data":null')
  })
  it('sends the init-data document, which is the argument itself', async () => {
    await guest('attest', 'version = "0.1.0"')
    const { 'init-data': initData } = JSON.parse(broker.received[1]?.body ?? '')
    expect(initData).toEqual({ format: 'toml', body: 'version = "0.1.0"' })
  })
  it('has no attester for real TEEs, and says where there is one', async () => {
    expect(await guest('attest', '--tee', 'snp')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining('attestation agent'),
    })
  })
  it('refuses a key file that holds none', async () => {
    await writeFile(join(folder, 'no.pem'), 'nothing')
    expect(await guest('attest', '--tee-key-file', 'no.pem')).toMatchObject({ status: 1, stdout: '' })
  })
})

describe('get-resource', () => {
  it('attests and prints the resource in base64', async () => {
    expect(await guest('get-resource', '--path', 'a/b/c')).toEqual({ status: 0, stdout: secret, stderr: '' })
  })
  it('shows a token instead, with the key that it names', async () => {
    await writeFile(join(folder, 'passport'), (await guest('attest', '--tee-key-file', 'tee.pem')).stdout)
    const args = ['--attestation-token', 'passport', '--tee-key-file', 'tee.pem']
    expect((await guest('get-resource', '--path', 'a/b/c', ...args)).stdout).toBe(secret)
    expect(broker.received.at(-1)).toMatchObject({ authorization: `Bearer ${token}` })
  })
  it('needs the key beside the token', async () => {
    await writeFile(join(folder, 'passport'), token)
    const outcome = await guest('get-resource', '--path', 'a/b/c', '--attestation-token', 'passport')
    expect(outcome).toMatchObject({ status: 1, stderr: expect.stringContaining('--tee-key-file') })
  })
  it('says in the words of the guest library why there is none', async () => {
    expect((await guest('get-resource', '--path', 'a/b/missing')).stderr).toMatch(
      /^Error: resource not found/,
    )
    expect((await guest('get-resource', '--path', 'a/b/denied')).stderr).toMatch(
      /^Error: request unauthorized/,
    )
    expect((await guest('get-resource', '--path', 'https://x/y')).status).toBe(1)
  })
  it('refuses a token file that holds something else, and does not print it', async () => {
    const outcome = await guest(
      ...['get-resource', '--path', 'a/b/c', '--tee-key-file', 'tee.pem', '--attestation-token', 'tee.pem'],
    )
    expect(outcome).toEqual({ status: 1, stdout: '', stderr: 'Error: tee.pem does not hold a token\n' })
  })
})
