import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RemoteTrust } from '@passport-kbs/attestation-service/remote'
import { ConfigError, createLogger } from '@passport-kbs/service'
import { makeCertificate } from '@passport-kbs/testing/tls'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { openRemoteTrust } from '../src/remote-trust.ts'

const quiet = { program: 'kbs-attest', env: {} }
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbs-remote-trust-'))
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(async () => {
  vi.useRealTimers()
  await rm(folder, { recursive: true })
})

it('the CA of a remote service stays in force while its file is empty or half written', async () => {
  const ca = join(folder, 'ca.pem')
  const [old, fresh] = [
    makeCertificate({ name: 'old', ca: true }).pem,
    makeCertificate({ name: 'new', ca: true }).pem,
  ]
  await writeFile(ca, old)
  const lines: string[] = []
  const logger = createLogger({ ...quiet, destination: { write: (line) => lines.push(line) } })
  const trust = await openRemoteTrust('attestation_service', { ca }, logger)
  expect(trust.ca).toBe(old)
  const taken: RemoteTrust[] = []
  const stop = trust.renewals?.((found) => taken.push(found))
  for (const [index, half] of ['', 'no certificate', fresh.slice(0, 100)].entries()) {
    await writeFile(ca, half)
    vi.advanceTimersByTime(10_000)
    await vi.waitFor(() => expect(lines).toHaveLength(index + 1))
    expect(lines.at(-1)).toContain('the former stay in use')
  }
  expect(taken).toEqual([])
  await writeFile(ca, fresh)
  vi.advanceTimersByTime(10_000)
  await vi.waitFor(() => expect(taken).toMatchObject([{ ca: fresh }]))
  stop?.()
})

it('the CA of a remote service that is none stops the start', async () => {
  const ca = join(folder, 'ca.pem')
  await writeFile(ca, '')
  const logger = createLogger({ ...quiet, destination: { write: () => {} } })
  await expect(openRemoteTrust('attestation_service', { ca }, logger)).rejects.toThrow(ConfigError)
})
