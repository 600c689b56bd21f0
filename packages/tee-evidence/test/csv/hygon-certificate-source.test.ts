import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createVirtualHygonChip, createVirtualHygonRoot, fakeHygonKeyService } from '@passport-kbs/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createCsvVerifier,
  EvidenceRejected,
  firstHygonSource,
  type HskCekOffer,
  type HygonCertificateSource,
  HygonCertificatesUnavailable,
  hskCekOffer,
  hygonCertificateCache,
  hygonDirectory,
  hygonKeyService,
  hygonRoot,
} from '../../src/index.ts'

const chip = createVirtualHygonChip()
const access = { readFile, writeFile, mkdir, rename }

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hygon-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('a directory of chip certificates', () => {
  it('has Trustee’s layout: a folder with the chip’s name and hsk_cek.cert in it', async () => {
    await mkdir(join(folder, chip.chipId))
    await writeFile(join(folder, chip.chipId, 'hsk_cek.cert'), chip.hskCek)
    const offer = await hygonDirectory(folder, access).hskCek(chip.chipId)
    expect(offer?.certificates).toEqual(Buffer.from(chip.hskCek))
  })

  it('has nothing for a chip without a file, or where it does not exist itself', async () => {
    expect(await hygonDirectory(folder, access).hskCek('OTHER')).toBeUndefined()
    expect(await hygonDirectory(join(folder, 'none'), access).hskCek('OTHER')).toBeUndefined()
  })

  it('cannot tell when the file cannot be read', async () => {
    await mkdir(join(folder, 'CHIP', 'hsk_cek.cert'), { recursive: true })
    await expect(hygonDirectory(folder, access).hskCek('CHIP')).rejects.toThrow(HygonCertificatesUnavailable)
  })

  it('never reads outside of itself', async () => {
    for (const chipId of ['..', '../../etc', 'a/b', '', 'a\0', 'A'.repeat(65)]) {
      await expect(hygonDirectory(folder, access).hskCek(chipId)).rejects.toThrow()
      await expect(hygonDirectory(folder, access).store(chipId, chip.hskCek)).rejects.toThrow('not a chip id')
    }
  })

  it('stores a file in one step and leaves no draft behind', async () => {
    const directory = hygonDirectory(folder, access)
    await directory.store(chip.chipId, chip.hskCek)
    await directory.store(chip.chipId, chip.hskCek)
    expect(await readdir(join(folder, chip.chipId))).toEqual(['hsk_cek.cert'])
    expect((await directory.hskCek(chip.chipId))?.certificates).toEqual(Buffer.from(chip.hskCek))
  })
})

describe('the client of a key service', () => {
  it('asks for the chip by its serial number', async () => {
    const urls: string[] = []
    const service = fakeHygonKeyService([chip])
    const client = hygonKeyService({
      fetch: (url, init) => {
        urls.push(url)
        return service.fetch(url, init)
      },
    })
    expect((await client.hskCek(chip.chipId))?.certificates).toEqual(Buffer.from(chip.hskCek))
    expect(urls).toEqual([`https://cert.hygon.cn/hsk_cek?snumber=${chip.chipId}`])
  })

  it('knows a chip that the service does not know', async () => {
    const { fetch } = fakeHygonKeyService([])
    expect(await hygonKeyService({ fetch }).hskCek(chip.chipId)).toBeUndefined()
  })

  it.each([400, 404, 410, 422])('takes status %d for word that there is none', async (status) => {
    const client = hygonKeyService({ fetch: async () => new Response('', { status }) })
    expect(await client.hskCek(chip.chipId)).toBeUndefined()
  })

  it.each([401, 403, 429, 500, 503])('cannot tell when the status is %d', async (status) => {
    const client = hygonKeyService({ fetch: async () => new Response('', { status }) })
    await expect(client.hskCek(chip.chipId)).rejects.toThrow(HygonCertificatesUnavailable)
  })

  it.each(['error', 'redirect', 'too-large', 'never-answers', 'body-never-ends'] as const)(
    'cannot tell when the service fails: %s',
    async (fault) => {
      const service = fakeHygonKeyService([chip])
      service.fault = fault
      const client = hygonKeyService({ fetch: service.fetch, timeoutMs: 50 })
      await expect(client.hskCek(chip.chipId)).rejects.toThrow(HygonCertificatesUnavailable)
    },
  )

  it('cannot tell when there is no network', async () => {
    const client = hygonKeyService({ fetch: () => Promise.reject(new TypeError('fetch failed')) })
    await expect(client.hskCek(chip.chipId)).rejects.toThrow(HygonCertificatesUnavailable)
  })

  it('sends nothing that is not a chip id', async () => {
    const service = fakeHygonKeyService([chip])
    const client = hygonKeyService({ fetch: service.fetch })
    await expect(client.hskCek('A&snumber=B')).rejects.toThrow('not a chip id')
    expect(service.requests).toEqual([])
  })

  it('has a limited number of requests under way', async () => {
    const service = fakeHygonKeyService([chip])
    service.fault = 'never-answers'
    const client = hygonKeyService({ fetch: service.fetch, timeoutMs: 50, maxConcurrent: 2 })
    const answers = await Promise.allSettled(['A', 'B', 'C'].map((chipId) => client.hskCek(chipId)))
    expect(answers.every(({ status }) => status === 'rejected')).toBe(true)
    expect(service.requests).toEqual(['A', 'B'])
    service.fault = undefined
    await expect(client.hskCek(chip.chipId)).resolves.toBeDefined()
  })
})

describe('several sources', () => {
  const nothing: HygonCertificateSource = { name: 'nothing', hskCek: async () => undefined }
  const failing: HygonCertificateSource = { name: 'failing', hskCek: () => Promise.reject(new Error('down')) }
  const good: HygonCertificateSource = { name: 'good', hskCek: async () => hskCekOffer(chip.hskCek) }

  it('are asked in order, and a failure does not stop the search', async () => {
    const offer = await firstHygonSource([nothing, failing, good]).hskCek(chip.chipId)
    expect(offer?.certificates).toBe(chip.hskCek)
  })

  it('know that there is nothing only when all could be asked', async () => {
    expect(await firstHygonSource([nothing, nothing]).hskCek(chip.chipId)).toBeUndefined()
    await expect(firstHygonSource([nothing, failing]).hskCek(chip.chipId)).rejects.toThrow(
      HygonCertificatesUnavailable,
    )
  })
})

/** A source that counts, with a clock that the test moves. */
function cacheOver(
  answer: (chipId: string) => HskCekOffer | undefined | Promise<HskCekOffer | undefined>,
  options: Partial<Parameters<typeof hygonCertificateCache>[0]> = {},
) {
  const asked: string[] = []
  const clock = { milliseconds: 0 }
  const cache = hygonCertificateCache({
    source: {
      name: 'test',
      hskCek: async (chipId) => {
        asked.push(chipId)
        return await answer(chipId)
      },
    },
    now: () => clock.milliseconds,
    ...options,
  })
  return { cache, asked, clock }
}

describe('the cache of chip certificates', () => {
  it('asks once for what was verified', async () => {
    const { cache, asked } = cacheOver(() => hskCekOffer(chip.hskCek))
    ;(await cache.hskCek('A'))?.accept()
    expect((await cache.hskCek('A'))?.certificates).toBe(chip.hskCek)
    expect(asked).toEqual(['A'])
  })

  it('keeps nothing that was not verified', async () => {
    const { cache, asked } = cacheOver(() => hskCekOffer(chip.hskCek))
    await cache.hskCek('A')
    await cache.hskCek('A')
    expect(asked).toEqual(['A', 'A'])
  })

  it('has one request under way for a chip', async () => {
    const { cache, asked } = cacheOver(() => hskCekOffer(chip.hskCek))
    const offers = await Promise.all([cache.hskCek('A'), cache.hskCek('A'), cache.hskCek('B')])
    expect(offers.every((offer) => offer !== undefined)).toBe(true)
    expect(asked).toEqual(['A', 'B'])
  })

  it('remembers an unknown chip for a minute', async () => {
    const { cache, asked, clock } = cacheOver(() => undefined)
    expect(await cache.hskCek('A')).toBeUndefined()
    clock.milliseconds = 59_999
    expect(await cache.hskCek('A')).toBeUndefined()
    expect(asked).toEqual(['A'])
    clock.milliseconds = 60_000
    await cache.hskCek('A')
    expect(asked).toEqual(['A', 'A'])
  })

  it('remembers for a minute that certificates did not verify', async () => {
    const { cache, asked, clock } = cacheOver(() => hskCekOffer(chip.hskCek))
    ;(await cache.hskCek('A'))?.refuse()
    await expect(cache.hskCek('A')).rejects.toThrow('did not verify')
    clock.milliseconds = 60_000
    await expect(cache.hskCek('A')).resolves.toBeDefined()
    expect(asked).toEqual(['A', 'A'])
  })

  it('remembers a failure for five seconds', async () => {
    const { cache, asked, clock } = cacheOver(() => Promise.reject(new Error('down')))
    await expect(cache.hskCek('A')).rejects.toThrow('down')
    await expect(cache.hskCek('A')).rejects.toThrow(HygonCertificatesUnavailable)
    expect(asked).toEqual(['A'])
    clock.milliseconds = 5_000
    await expect(cache.hskCek('A')).rejects.toThrow('down')
  })

  it('forgets the chip that was not used for longest when it is full', async () => {
    const { cache, asked } = cacheOver(() => hskCekOffer(chip.hskCek), { maxChips: 2 })
    for (const chipId of ['A', 'B', 'A', 'C', 'A', 'B']) (await cache.hskCek(chipId))?.accept()
    expect(asked).toEqual(['A', 'B', 'C', 'B'])
  })

  it('survives a restart with a directory, and verifies what it reads from there again', async () => {
    const directory = hygonDirectory(folder, access)
    const before = cacheOver(() => hskCekOffer(chip.hskCek), { directory })
    ;(await before.cache.hskCek(chip.chipId))?.accept()
    await expect.poll(() => directory.hskCek(chip.chipId)).toBeDefined()
    const after = cacheOver(() => Promise.reject(new Error('no network')), { directory })
    expect((await after.cache.hskCek(chip.chipId))?.certificates).toEqual(Buffer.from(chip.hskCek))
    expect(after.asked).toEqual([])
  })

  it('asks the source when the file is bad, and replaces it', async () => {
    const directory = hygonDirectory(folder, access)
    await directory.store(chip.chipId, new Uint8Array(3))
    const { cache, asked } = cacheOver(() => hskCekOffer(chip.hskCek), { directory })
    ;(await cache.hskCek(chip.chipId))?.refuse()
    ;(await cache.hskCek(chip.chipId))?.accept()
    expect(asked).toEqual([chip.chipId])
    await expect
      .poll(async () => (await directory.hskCek(chip.chipId))?.certificates)
      .toEqual(Buffer.from(chip.hskCek))
  })

  it('serves without its directory, and says what is wrong with it', async () => {
    const failures: unknown[] = []
    const broken = {
      ...access,
      readFile: () => Promise.reject(new Error('disk')),
      mkdir: () => Promise.reject(new Error('full')),
    }
    const { cache } = cacheOver(() => hskCekOffer(chip.hskCek), {
      directory: hygonDirectory(folder, broken),
      onDirectoryFailure: (error) => void failures.push(error),
    })
    ;(await cache.hskCek('A'))?.accept()
    await expect.poll(() => failures).toHaveLength(2)
    expect((await cache.hskCek('A'))?.certificates).toBe(chip.hskCek)
  })
})

describe('a verifier with directory, cache and key service', () => {
  it('asks the service once for a chip, and never for evidence with an invented chip id twice', async () => {
    const root = createVirtualHygonRoot()
    const known = createVirtualHygonChip({ root })
    const invented = createVirtualHygonChip()
    const service = fakeHygonKeyService([known])
    const source = hygonCertificateCache({
      source: firstHygonSource([hygonDirectory(folder, access), hygonKeyService({ fetch: service.fetch })]),
      now: () => 0,
    })
    const verifier = createCsvVerifier({ root: hygonRoot(root.certificate), certificateSource: source })
    const request = { now: new Date(0), expectedReportData: new Uint8Array(48) }
    for (const sender of [known, invented, known, invented]) {
      const evidence = sender.evidence({ reportData: new Uint8Array(48), withChain: false })
      const outcome = await verifier.verify(evidence, request).then(
        () => 'accepted',
        (error: unknown) => (error instanceof EvidenceRejected ? error.code : error),
      )
      expect(outcome).toBe(sender === known ? 'accepted' : 'CSV_CHAIN_UNAVAILABLE')
    }
    expect(service.requests).toEqual([known.chipId, invented.chipId])
  })

  it('survives a service that sends half a file', async () => {
    const service = fakeHygonKeyService([chip])
    service.fault = 'cut-short'
    const source = hygonKeyService({ fetch: service.fetch })
    const verifier = createCsvVerifier({ root: hygonRoot(chip.root.certificate), certificateSource: source })
    const evidence = chip.evidence({ reportData: new Uint8Array(48), withChain: false })
    await expect(verifier.verify(evidence, { now: new Date(0) })).rejects.toMatchObject({
      code: 'CSV_CERT_MALFORMED',
      outage: true,
    })
  })
})
