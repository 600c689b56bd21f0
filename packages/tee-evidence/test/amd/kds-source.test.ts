/** Spec 03 §5.2 and §11 rows 30 and 31: where a VCEK comes from when the evidence brings none. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  createVirtualSnpMachine,
  type FakeKds,
  type KdsFailure,
  pem,
  startFakeKds,
} from '@passport-kbs/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fallbackVcekFile, vcekFile } from '../../src/amd/kds/addresses.ts'
import {
  createKdsSource,
  createOfflineStoreSource,
  createSnpVerifier,
  type EndorsementSource,
  type KdsOptions,
} from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = randomBytes(48)
const request = { now, expectedReportData: reportData }
const machine = createVirtualSnpMachine({ generation: 'Genoa', now })
const turinMachine = createVirtualSnpMachine({ generation: 'Turin', now })
const strangers = createVirtualSnpMachine({ generation: 'Genoa', now })
const evidence = machine.evidence({ reportData, certificates: 'none' })
const unavailable = 'VEK_UNAVAILABLE at endorsement-key'
const outage = `${unavailable}, an outage`

let kds: FakeKds
let folder: string
beforeAll(async () => {
  kds = await startFakeKds({ machines: [machine, turinMachine] })
  folder = await mkdtemp(join(tmpdir(), 'kds-source-'))
})
afterAll(async () => {
  await kds.close()
  await rm(folder, { recursive: true })
})
beforeEach(() => kds.fail(undefined))

/** A clock that tests move by hand. */
class Clock {
  #time = now.getTime()
  readonly read = () => new Date(this.#time)
  advance(seconds: number) {
    this.#time += seconds * 1000
  }
}

function kdsSource(options: KdsOptions = {}): EndorsementSource {
  return createKdsSource({ baseUrl: kds.url, timeout: 300, ...options })
}

function verifierWith(...endorsementSources: EndorsementSource[]) {
  return createSnpVerifier({ roots: machine.roots, endorsementSources })
}

async function requestsDuring(work: () => Promise<unknown>): Promise<readonly string[]> {
  const before = kds.requests.length
  await work()
  return kds.requests.slice(before)
}

describe('a healthy KDS', () => {
  it('gives the VCEK of the chip and TCB, once', async () => {
    const verifier = verifierWith(kdsSource())
    const requests = await requestsDuring(async () => {
      expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
      expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
    })
    const hwid = Buffer.from(machine.chipId).toString('hex')
    expect(requests).toEqual([`/vcek/v1/Genoa/${hwid}?blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=84`])
  })

  it('is asked for Turin with the FMC version and eight bytes of chip id', async () => {
    const verifier = verifierWith(kdsSource())
    const turin = turinMachine.evidence({ reportData, certificates: 'none' })
    const requests = await requestsDuring(() => rejectionOf(verifier, turin, request))
    const hwid = Buffer.from(turinMachine.chipId.subarray(0, 8)).toString('hex')
    expect(requests).toEqual([`/vcek/v1/Turin/${hwid}?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=81`])
  })

  it('is asked once for concurrent requests', async () => {
    const verifier = verifierWith(kdsSource())
    const requests = await requestsDuring(() =>
      Promise.all(Array.from({ length: 8 }, () => rejectionOf(verifier, evidence, request))),
    )
    expect(requests).toHaveLength(1)
  })

  it.each([
    ['report data of another session', { ...request, expectedReportData: randomBytes(48) }],
    ['other init data', { ...request, expectedInitDataDigest: randomBytes(32) }],
  ])('is not asked for evidence with %s', async (_name, given) => {
    const verifier = verifierWith(kdsSource())
    const requests = await requestsDuring(() => rejectionOf(verifier, evidence, given))
    expect(requests).toEqual([])
  })

  it('is not asked for evidence of a forbidden VMPL', async () => {
    const verifier = verifierWith(kdsSource())
    const vmpl1 = machine.evidence({ reportData, certificates: 'none', defect: 'vmpl-1' })
    expect(await requestsDuring(() => rejectionOf(verifier, vmpl1, request))).toEqual([])
  })

  it('is not asked when the evidence has a chain, even an empty one', async () => {
    const verifier = verifierWith(kdsSource())
    const empty = machine.evidence({ reportData })
    empty.cert_chain = []
    const requests = await requestsDuring(async () => {
      expect(await rejectionOf(verifier, empty, request)).toBe('CERT_CHAIN_INCOMPLETE at endorsement-key')
    })
    expect(requests).toEqual([])
  })

  it('a forged report with a genuine VCEK fails its signature, not the source', async () => {
    const forged = machine.evidence({ reportData, certificates: 'none', defect: 'tampered-measurement' })
    expect(await rejectionOf(verifierWith(kdsSource()), forged, request)).toBe(
      'REPORT_SIGNATURE_INVALID at report-signature',
    )
  })

  it('a zero CHIP_ID names nothing to ask for', async () => {
    const masked = machine.evidence({ reportData, certificates: 'none', defect: 'masked-chip-id' })
    const requests = await requestsDuring(async () => {
      expect(await rejectionOf(verifierWith(kdsSource()), masked, request)).toBe(unavailable)
    })
    expect(requests).toEqual([])
  })

  it('a chip it does not know is an absence', async () => {
    const unknown = strangers.evidence({ reportData, certificates: 'none' })
    expect(await rejectionOf(verifierWith(kdsSource()), unknown, request)).toBe(unavailable)
  })

  it('answers over the connection with a deadline of its own and over the global fetch alike', async () => {
    const verifier = verifierWith(kdsSource({ fetch }))
    expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
  })
})

/** How KDS fails, and whether that says anything of the evidence. */
const failures: readonly [string, KdsFailure, typeof unavailable | typeof outage][] = [
  ['404', { kind: 'status', status: 404 }, unavailable],
  ['400', { kind: 'status', status: 400 }, unavailable],
  ['403', { kind: 'status', status: 403 }, outage],
  ['429 with Retry-After', { kind: 'status', status: 429, retryAfter: '30' }, outage],
  ['500', { kind: 'status', status: 500 }, outage],
  ['HTML with 200', { kind: 'html' }, outage],
  ['PEM instead of DER', { kind: 'pem' }, outage],
  ['a body of 10 MB', { kind: 'oversize', bytes: 10_000_000 }, outage],
  ['a slow drip', { kind: 'slow-drip', everyMilliseconds: 20 }, outage],
  ['a redirect', { kind: 'redirect' }, outage],
  [
    'the certificate of another chip',
    { kind: 'other-chip', certificate: strangers.endorsementCertificate },
    unavailable,
  ],
  [
    'a certificate of another product',
    { kind: 'other-chip', certificate: turinMachine.endorsementCertificate },
    unavailable,
  ],
  ['DER that is no certificate', { kind: 'other-chip', certificate: Buffer.from('30020500', 'hex') }, outage],
  [
    'a certificate with a changed bit',
    { kind: 'other-chip', certificate: damaged(machine.endorsementCertificate) },
    outage,
  ],
  ['no answer', { kind: 'hang' }, outage],
]

describe.each(failures)('a KDS that answers with %s', (_name, failure, rejection) => {
  it('fails, bounded, and is not asked again at once', async () => {
    kds.fail(failure)
    const verifier = verifierWith(kdsSource({ clock: new Clock().read }))
    const requests = await requestsDuring(async () => {
      expect(await rejectionOf(verifier, evidence, request)).toBe(rejection)
      expect(await rejectionOf(verifier, evidence, request)).toBe(rejection)
    })
    expect(requests).toHaveLength(1)
  })

  it('leaves no cache entry: once it is well, it is asked and believed', async () => {
    kds.fail(failure)
    const clock = new Clock()
    const verifier = verifierWith(kdsSource({ clock: clock.read }))
    await rejectionOf(verifier, evidence, request)
    kds.fail(undefined)
    clock.advance(3600)
    expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
  })

  it('is an outage or none whatever the other sources do not have', async () => {
    kds.fail(failure)
    const store = createOfflineStoreSource({ path: join(folder, 'nowhere') })
    const clock = new Clock().read
    expect(await rejectionOf(verifierWith(kdsSource({ clock }), store), evidence, request)).toBe(rejection)
    expect(await rejectionOf(verifierWith(store, kdsSource({ clock })), evidence, request)).toBe(rejection)
  })

  it('the next source is tried', async () => {
    kds.fail(failure)
    const store = await storeWith(vcekFile(vcekRequest), machine.endorsementCertificate)
    const verifier = verifierWith(kdsSource(), createOfflineStoreSource({ path: store }))
    expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
  })
})

describe('back-off', () => {
  it('honours Retry-After for every chip', async () => {
    kds.fail({ kind: 'status', status: 429, retryAfter: '30' })
    const clock = new Clock()
    const verifier = verifierWith(kdsSource({ clock: clock.read }))
    await rejectionOf(verifier, evidence, request)
    kds.fail(undefined)
    clock.advance(29)
    const turin = turinMachine.evidence({ reportData, certificates: 'none' })
    expect(await rejectionOf(verifier, turin, request)).toBe(outage)
    clock.advance(2)
    expect(await rejectionOf(verifier, turin, request)).toBe('accepted')
  })

  it('honours a Retry-After date, and none longer than an hour', async () => {
    const clock = new Clock()
    const retryAfter = new Date(now.getTime() + 24 * 3600 * 1000).toUTCString()
    kds.fail({ kind: 'status', status: 503, retryAfter })
    const verifier = verifierWith(kdsSource({ clock: clock.read }))
    await rejectionOf(verifier, evidence, request)
    kds.fail(undefined)
    clock.advance(3599)
    expect(await rejectionOf(verifier, evidence, request)).toBe(outage)
    clock.advance(2)
    expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
  })

  it('doubles while the server keeps failing', async () => {
    kds.fail({ kind: 'status', status: 500 })
    const clock = new Clock()
    const verifier = verifierWith(kdsSource({ clock: clock.read }))
    const asked = (seconds: number) => {
      clock.advance(seconds)
      return requestsDuring(() => rejectionOf(verifier, evidence, request))
    }
    expect(await asked(0)).toHaveLength(1)
    expect(await asked(1)).toHaveLength(0)
    expect(await asked(1)).toHaveLength(1)
    expect(await asked(3)).toHaveLength(0)
    expect(await asked(1)).toHaveLength(1)
    expect(await asked(7)).toHaveLength(0)
    expect(await asked(1)).toHaveLength(1)
  })

  it('an unknown chip does not close the server for others', async () => {
    const verifier = verifierWith(kdsSource({ clock: new Clock().read }))
    const unknown = strangers.evidence({ reportData, certificates: 'none' })
    expect(await rejectionOf(verifier, unknown, request)).toBe(unavailable)
    expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
    expect(await requestsDuring(() => rejectionOf(verifier, unknown, request))).toEqual([])
  })
})

describe('a chip that KDS does not know', () => {
  it('stays unknown while KDS is down', async () => {
    const verifier = verifierWith(kdsSource({ clock: new Clock().read }))
    const unknown = strangers.evidence({ reportData, certificates: 'none' })
    expect(await rejectionOf(verifier, unknown, request)).toBe(unavailable)
    kds.fail({ kind: 'status', status: 500 })
    expect(await rejectionOf(verifier, evidence, request)).toBe(outage)
    expect(await rejectionOf(verifier, unknown, request)).toBe(unavailable)
  })
})

/** With another signature than AMD's. */
function damaged(certificate: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(certificate)
  const last = copy.length - 1
  copy[last] = (copy[last] ?? 0) ^ 1
  return copy
}

const vcekRequest = {
  generation: 'Genoa',
  hwid: Buffer.from(machine.chipId).toString('hex'),
  tcb: machine.tcb,
} as const

async function storeWith(file: string, content: Uint8Array): Promise<string> {
  const store = await mkdtemp(join(folder, 'store-'))
  await mkdir(dirname(join(store, file)), { recursive: true })
  await writeFile(join(store, file), content)
  return store
}

describe('the cache directory', () => {
  it('keeps a verified certificate in the layout of an offline store, across restarts', async () => {
    const cacheDirectory = await mkdtemp(join(folder, 'cache-'))
    expect(await rejectionOf(verifierWith(kdsSource({ cacheDirectory })), evidence, request)).toBe('accepted')
    const file = join(cacheDirectory, vcekFile(vcekRequest))
    await expect
      .poll(() => readFile(file).catch(() => undefined))
      .toEqual(Buffer.from(machine.endorsementCertificate))
    const requests = await requestsDuring(async () => {
      const restarted = verifierWith(kdsSource({ cacheDirectory }))
      expect(await rejectionOf(restarted, evidence, request)).toBe('accepted')
    })
    expect(requests).toEqual([])
  })

  it('is passed over when it holds something else', async () => {
    const cacheDirectory = await storeWith(vcekFile(vcekRequest), strangers.endorsementCertificate)
    expect(await rejectionOf(verifierWith(kdsSource({ cacheDirectory })), evidence, request)).toBe('accepted')
  })

  it('never holds what did not verify', async () => {
    kds.fail({ kind: 'other-chip', certificate: strangers.endorsementCertificate })
    const cacheDirectory = await mkdtemp(join(folder, 'cache-'))
    expect(await rejectionOf(verifierWith(kdsSource({ cacheDirectory })), evidence, request)).toBe(
      unavailable,
    )
    expect(await readdir(cacheDirectory)).toEqual([])
  })
})

describe('an offline store', () => {
  const offline = (path: string) => verifierWith(createOfflineStoreSource({ path }))

  it.each([
    ['DER', machine.endorsementCertificate],
    ['PEM', Buffer.from(pem('CERTIFICATE', machine.endorsementCertificate))],
  ])('gives the file for the TCB as %s', async (_name, content) => {
    const store = await storeWith(vcekFile(vcekRequest), content)
    expect(await rejectionOf(offline(store), evidence, request)).toBe('accepted')
  })

  it('gives vcek.der when there is none for the TCB', async () => {
    const store = await storeWith(fallbackVcekFile(vcekRequest), machine.endorsementCertificate)
    expect(await rejectionOf(offline(store), evidence, request)).toBe('accepted')
  })

  it('does not fall back when the first file is there but wrong', async () => {
    const store = await storeWith(fallbackVcekFile(vcekRequest), machine.endorsementCertificate)
    await writeFile(join(store, vcekFile(vcekRequest)), strangers.endorsementCertificate)
    expect(await rejectionOf(offline(store), evidence, request)).toBe(unavailable)
  })

  it('that does not exist has nothing', async () => {
    expect(await rejectionOf(offline(join(folder, 'nowhere')), evidence, request)).toBe(unavailable)
  })

  it.each([
    ['a directory instead of the file', (path: string) => mkdir(path)],
    ['a symlink loop', (path: string) => symlink(path, path)],
    ['a file of 1 GB', sparseFile],
    ['a device', (path: string) => symlink('/dev/zero', path)],
  ])('fails, bounded, on %s and does not fall back', async (_name, make) => {
    const store = await storeWith(fallbackVcekFile(vcekRequest), machine.endorsementCertificate)
    await make(join(store, vcekFile(vcekRequest)))
    expect(await rejectionOf(offline(store), evidence, request)).toBe(outage)
  })

  it.each([
    ['is no certificate', Buffer.from('this is no certificate')],
    ['has a changed bit', damaged(machine.endorsementCertificate)],
  ])('with a file that %s is damaged, which is no verdict', async (_name, content) => {
    const store = await storeWith(vcekFile(vcekRequest), content)
    expect(await rejectionOf(offline(store), evidence, request)).toBe(outage)
  })

  it('asked under another product than the chip is of has no certificate for that', async () => {
    const store = await storeWith(fallbackVcekFile(vcekRequest), turinMachine.endorsementCertificate)
    expect(await rejectionOf(offline(store), evidence, request)).toBe(unavailable)
  })

  it('is followed by the next source', async () => {
    const store = await storeWith(vcekFile(vcekRequest), strangers.endorsementCertificate)
    const verifier = verifierWith(createOfflineStoreSource({ path: store }), kdsSource())
    expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
  })
})

async function sparseFile(path: string): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(1024 ** 3)
  await file.close()
}

describe('configuration', () => {
  it('takes http only when it is asked for, and nothing else', () => {
    expect(() => createKdsSource({ baseUrl: 'http://127.0.0.1:1/' })).not.toThrow()
    expect(() => createKdsSource({ baseUrl: 'ftp://example.org' })).toThrow(TypeError)
    expect(() => createKdsSource({ baseUrl: 'not a url' })).toThrow(TypeError)
  })
})
