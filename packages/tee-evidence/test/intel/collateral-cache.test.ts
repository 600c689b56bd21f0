import { type PcsFailure, startVirtualPcs, tdEvidence, type VirtualPcs } from '@passport-kbs/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  CheckFailure,
  type CollateralCache,
  type CollateralCacheOptions,
  type CollateralFiles,
  createCollateralCache,
  createDcap,
  createTdxVerifier,
  EvidenceRejected,
  offlineDirectoryCollateral,
  pcsUpstream,
} from '../../src/index.ts'
import { fmspc, intel, now, platform, rejection, root } from './virtual-machine.ts'

const hour = 3_600_000
const evidence = tdEvidence(platform, { reportData: new Uint8Array(48) })

let pcs: VirtualPcs
let mirror: VirtualPcs
/** Moves on by hand. */
let clock: number

beforeAll(async () => {
  pcs = await startVirtualPcs()
  mirror = await startVirtualPcs({ crlEncoding: 'hex' })
})
afterAll(() => Promise.all([pcs.close(), mirror.close()]))
beforeEach(() => {
  clock = now.getTime()
  for (const server of [pcs, mirror]) {
    server.fail(undefined)
    server.serve('tdx', fmspc, 'platform', intel.collateral())
    server.requests.splice(0)
  }
})

const upstream = ({ url }: { url: string }) => pcsUpstream({ url, update: 'early', fetch })

function cacheOf(options: Partial<CollateralCacheOptions> = {}): CollateralCache {
  const upstreams = [upstream(pcs)]
  return createCollateralCache({
    upstreams,
    update: 'early',
    now: () => clock,
    root,
    timeoutMs: 300,
    ...options,
  })
}

/** What is seen of an upstream that cannot be asked. */
const unreachable = { code: 'COLLATERAL_UNAVAILABLE', outage: true }

function verify(cache: CollateralCache) {
  const verifier = createTdxVerifier({ dcap: createDcap({ root, collateral: cache }) })
  return verifier.verify(evidence, { now: new Date(clock) })
}

async function status(cache: CollateralCache): Promise<unknown> {
  const [entry] = await verify(cache)
  return entry?.claims.tcb_status
}

/** Waits for what runs in the background: at most `timeoutMs` of these tests. */
async function settled(condition: () => boolean): Promise<void> {
  const end = performance.now() + 2000
  while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(condition()).toBe(true)
}

/** `prefetch` is not part of a verification, so its failures carry no check. */
function asRejected(error: unknown): never {
  if (!(error instanceof CheckFailure)) throw error
  throw new EvidenceRejected(error.code, 'prefetch', error.message)
}

class MemoryFiles implements CollateralFiles {
  readonly content = new Map<string, Uint8Array>()
  async read(name: string) {
    return this.content.get(name)
  }
  async write(name: string, bytes: Uint8Array) {
    this.content.set(name, bytes)
  }
}

describe('Requests', () => {
  test('are those of the PCS version 4', async () => {
    await verify(cacheOf())
    expect([...pcs.requests].sort()).toEqual([
      '/sgx/certification/v4/pckcrl?ca=platform&encoding=der',
      '/sgx/certification/v4/rootcacrl',
      `/tdx/certification/v4/qe/identity?update=early`,
      `/tdx/certification/v4/tcb?fmspc=${fmspc.toUpperCase()}&update=early`,
    ])
  })

  test('drop path and query of the configured address', async () => {
    const odd = pcsUpstream({ url: `${pcs.url}/sgx/certification/v4/?a=b`, update: 'standard', fetch })
    await verify(cacheOf({ upstreams: [odd], update: 'standard' }))
    expect(pcs.requests).toContain('/tdx/certification/v4/qe/identity?update=standard')
  })

  test('for the root CRL go to a constant address when Intel itself is asked', async () => {
    const asked: string[] = []
    const recording: typeof fetch = async (address) => {
      asked.push(String(address))
      return new Response('', { status: 404 })
    }
    const url = 'https://api.trustedservices.intel.com/sgx/certification/v4/'
    const intelPcs = pcsUpstream({ url, update: 'early', fetch: recording })
    await expect(intelPcs.fetch({ kind: 'root-ca-crl' }, 100)).rejects.toMatchObject({ fault: 'absent' })
    expect(asked).toEqual(['https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'])
  })

  test('are made only after the signatures of the quote have been verified', async () => {
    const forged = tdEvidence(platform, { reportData: new Uint8Array(48), defect: 'body-changed' })
    const verifier = createTdxVerifier({ dcap: createDcap({ root, collateral: cacheOf() }) })
    expect((await rejection(verifier.verify(forged, { now }))).code).toBe('QUOTE_SIGNATURE_INVALID')
    expect(pcs.requests).toEqual([])
  })

  test('understand CRLs in hexadecimal, as a PCCS gives them', async () => {
    expect(await status(cacheOf({ upstreams: [upstream(mirror)] }))).toBe('UpToDate')
  })
})

describe('Cached collateral', () => {
  test('is fetched once, however many ask at the same time and later', async () => {
    const cache = cacheOf()
    await Promise.all(Array.from({ length: 20 }, () => verify(cache)))
    await verify(cache)
    expect(pcs.requests).toHaveLength(4)
  })

  test('hides an outage of a day, and of a month until it expires', async () => {
    const cache = cacheOf()
    await verify(cache)
    pcs.fail({ kind: 'status', status: 500 })
    for (const hours of [1, 12, 25, 48, 24 * 28]) {
      clock = now.getTime() + hours * hour
      expect(await status(cache)).toBe('UpToDate')
    }
    clock = now.getTime() + 24 * 29 * hour + 1000
    expect(await rejection(verify(cache))).toMatchObject(unreachable)
  })

  test('is refreshed in the background after a day, without anyone waiting', async () => {
    const cache = cacheOf()
    await verify(cache)
    clock += 24 * hour - 1000
    await verify(cache)
    expect(pcs.requests).toHaveLength(4)
    pcs.serve(
      'tdx',
      fmspc,
      'platform',
      intel.collateral({ evaluationDataNumber: 21, issued: new Date(clock) }),
    )
    clock += 1000
    const [entry] = await verify(cache)
    expect(entry?.claims.tcb_eval_num).toBe(20)
    await settled(() => pcs.requests.length === 8)
    await settled(() => cache.documents().every(({ retrievedAt }) => retrievedAt.getTime() === clock))
    const [refreshed] = await verify(cache)
    expect(refreshed?.claims.tcb_eval_num).toBe(21)
  })

  test('is refreshed after half its life when it lives for less than two days', async () => {
    pcs.serve(
      'tdx',
      fmspc,
      'platform',
      intel.collateral({ issued: new Date(now.getTime() - 29 * 24 * hour) }),
    )
    const cache = cacheOf()
    await verify(cache)
    clock += 12 * hour
    await verify(cache)
    await settled(() => pcs.requests.length === 7)
  })

  test('is refreshed by a timer of the process too', async () => {
    const cache = cacheOf()
    await verify(cache)
    await cache.refreshDue()
    expect(pcs.requests).toHaveLength(4)
    clock += 24 * hour
    await cache.refreshDue()
    expect(pcs.requests).toHaveLength(8)
  })

  test('is not replaced by an older document of a stale mirror', async () => {
    const cache = cacheOf()
    await verify(cache)
    pcs.serve(
      'tdx',
      fmspc,
      'platform',
      intel.collateral({ evaluationDataNumber: 3, issued: new Date(now.getTime() - 3 * 24 * hour) }),
    )
    clock += 25 * hour
    await cache.refreshDue()
    const [entry] = await verify(cache)
    expect(entry?.claims.tcb_eval_num).toBe(20)
  })

  test('is not used for longer than the operator wants without a refresh', async () => {
    const cache = cacheOf({ usableMs: 48 * hour })
    await verify(cache)
    pcs.fail({ kind: 'status', status: 500 })
    clock += 48 * hour
    expect(await status(cache)).toBe('UpToDate')
    clock += 120_000
    expect(await rejection(verify(cache))).toMatchObject(unreachable)
  })

  test('is bounded in number', async () => {
    const cache = cacheOf({ maxDocuments: 5 })
    for (let index = 0; index < 6; index += 1) {
      const other = `00000000000${index}`
      pcs.serve('tdx', other, 'platform', intel.collateral({ fmspc: other }))
      await cache.prefetch({ tee: 'tdx', fmspc: other, ca: 'platform' })
    }
    expect(cache.documents()).toHaveLength(5)
  })

  test('can be fetched ahead of the first quote, and shows age and remaining life', async () => {
    const cache = cacheOf()
    await cache.prefetch({ tee: 'tdx', fmspc, ca: 'platform' })
    pcs.fail({ kind: 'status', status: 500 })
    expect(await status(cache)).toBe('UpToDate')
    expect(cache.documents()).toContainEqual({
      name: `tdx-tcb-info-${fmspc}-early`,
      upstream: pcs.url,
      retrievedAt: now,
      nextUpdate: new Date('2026-02-13T12:00:00Z'),
    })
  })
})

describe('An upstream that fails', () => {
  const failures: readonly (readonly [string, PcsFailure])[] = [
    ['answers 500', { kind: 'status', status: 500 }],
    ['answers 404', { kind: 'status', status: 404 }],
    ['answers 429', { kind: 'status', status: 429, retryAfter: '30' }],
    ['answers 401', { kind: 'status', status: 401 }],
    ['never answers', { kind: 'silent' }],
    ['drips', { kind: 'slow' }],
    ['breaks off', { kind: 'reset' }],
    ['sends too much', { kind: 'oversize', bytes: 50 * 1024 * 1024 }],
    ['redirects', { kind: 'redirect', to: 'http://127.0.0.1:1/' }],
    ['sends no issuer chain', { kind: 'no-chain-header' }],
    ['sends a broken issuer chain', { kind: 'broken-chain-header' }],
  ]

  test.each(failures)(
    'and %s: COLLATERAL_UNAVAILABLE in bounded time, nothing cached',
    async (_name, failure) => {
      pcs.fail(failure)
      const cache = cacheOf()
      const begin = performance.now()
      const outage = failure.kind !== 'status' || failure.status !== 404
      const expected = { code: 'COLLATERAL_UNAVAILABLE', check: 'collateral-availability', outage }
      expect(await rejection(verify(cache))).toEqual(expected)
      expect(await rejection(verify(cache)), 'remembered').toEqual(expected)
      expect(performance.now() - begin).toBeLessThan(5000)
      expect(cache.documents().filter(({ name }) => name.includes('tcb-info'))).toEqual([])
    },
  )

  test.each(failures)('and %s: the next one is asked', async (_name, failure) => {
    pcs.fail(failure)
    const cache = cacheOf({ upstreams: [upstream(pcs), upstream(mirror)] })
    expect(await status(cache)).toBe('UpToDate')
    expect(cache.documents().map((document) => document.upstream)).toContain(mirror.url)
  })

  test('refuses the connection: COLLATERAL_UNAVAILABLE', async () => {
    const dead = pcsUpstream({ url: 'http://127.0.0.1:1', update: 'early', fetch })
    expect(await rejection(verify(cacheOf({ upstreams: [dead] })))).toMatchObject(unreachable)
  })

  test('is an outage also where the other one does not know the platform', async () => {
    const dead = pcsUpstream({ url: 'http://127.0.0.1:1', update: 'early', fetch })
    pcs.fail({ kind: 'status', status: 404 })
    expect(await rejection(verify(cacheOf({ upstreams: [upstream(pcs), dead] })))).toMatchObject(unreachable)
    expect(await rejection(verify(cacheOf({ upstreams: [dead, upstream(pcs)] })))).toMatchObject(unreachable)
  })

  test('and knows the platform, but not a document that all platforms share, is none of Intel’s', async () => {
    pcs.fail({ kind: 'status', status: 404 }, 'rootcacrl')
    expect(await rejection(verify(cacheOf()))).toMatchObject(unreachable)
  })

  test('takes no longer than the deadline for all upstreams together', async () => {
    pcs.fail({ kind: 'silent' })
    mirror.fail({ kind: 'silent' })
    const cache = cacheOf({ upstreams: [upstream(pcs), upstream(mirror)], timeoutMs: 2000, deadlineMs: 500 })
    const begin = performance.now()
    await rejection(verify(cache))
    expect(performance.now() - begin).toBeLessThan(1900)
  })

  test('is not asked again for a minute, then it is', async () => {
    pcs.fail({ kind: 'status', status: 404 })
    const cache = cacheOf()
    await rejection(verify(cache))
    const asked = pcs.requests.length
    pcs.fail(undefined)
    clock += 59_000
    await rejection(verify(cache))
    expect(pcs.requests).toHaveLength(asked)
    clock += 2_000
    expect(await status(cache)).toBe('UpToDate')
  })

  test('and asks to wait is left alone for that long', async () => {
    pcs.fail({ kind: 'status', status: 503, retryAfter: '120' })
    const cache = cacheOf()
    await rejection(verify(cache))
    expect(cache.health()[0]).toMatchObject({ healthy: false, pausedUntil: new Date(clock + 120_000) })
    pcs.fail(undefined)
    pcs.requests.splice(0)
    clock += 61_000
    await rejection(verify(cache))
    expect(pcs.requests).toEqual([])
    clock += 60_000
    expect(await status(cache)).toBe('UpToDate')
    expect(cache.health()[0]).toMatchObject({ healthy: true, consecutiveFailures: 0 })
  })

  test('again and again gets longer and longer pauses, up to a minute', async () => {
    pcs.fail({ kind: 'status', status: 500 })
    const cache = cacheOf({ negativeMs: 0 })
    const pauses: number[] = []
    for (let round = 0; round < 9; round += 1) {
      await rejection(cache.prefetch({ tee: 'tdx', fmspc, ca: 'platform' }).catch(asRejected))
      const until = cache.health()[0]?.pausedUntil?.getTime() ?? clock
      pauses.push(until - clock)
      clock = until + 1
    }
    expect(pauses[0]).toBeLessThan(60_000)
    expect(pauses.at(-1)).toBe(60_000)
    pcs.fail(undefined)
    expect(await status(cache)).toBe('UpToDate')
  })

  test('shows in the health of the source with host and reason, nothing else', async () => {
    pcs.fail({ kind: 'status', status: 500 })
    const cache = cacheOf()
    await rejection(verify(cache))
    const [health] = cache.health()
    expect(health).toMatchObject({ name: pcs.url, healthy: false })
    expect(health?.lastError).toBe(`${new URL(pcs.url).host} answers with status 500`)
  })
})

describe('Collateral that an upstream should not serve', () => {
  test.each([
    ['tcb-info-status-edited', 'COLLATERAL_SIGNATURE_INVALID'],
    ['tcb-info-not-json', 'COLLATERAL_MALFORMED'],
    ['tcb-info-chain-foreign', 'COLLATERAL_CHAIN_INVALID'],
    ['tcb-info-version', 'TCB_INFO_VERSION_UNSUPPORTED'],
    ['tcb-info-of-other-fmspc', 'TCB_INFO_MISMATCH'],
    ['tcb-info-of-other-tee', 'TCB_INFO_MISMATCH'],
    ['qe-identity-of-other-tee', 'QE_IDENTITY_MISMATCH'],
    ['pck-crl-garbage', 'CRL_INVALID'],
    ['pck-crl-of-other-ca', 'CRL_INVALID'],
    ['root-crl-signature', 'CRL_INVALID'],
    ['tcb-info-expired', 'COLLATERAL_EXPIRED'],
    ['tcb-info-from-future', 'COLLATERAL_NOT_YET_VALID'],
    ['root-crl-expired', 'COLLATERAL_EXPIRED'],
  ] as const)('%s is refused with %s and not cached; a good mirror helps', async (defect, code) => {
    pcs.serve('tdx', fmspc, 'platform', intel.collateral({ defect }))
    const files = new MemoryFiles()
    const alone = cacheOf({ files })
    expect(await rejection(verify(alone))).toMatchObject({ code, outage: true })
    expect(alone.documents()).toHaveLength(3)
    expect(files.content.size).toBe(3)
    expect(await status(cacheOf({ upstreams: [upstream(pcs), upstream(mirror)] }))).toBe('UpToDate')
  })

  test('a login page of a proxy is refused', async () => {
    pcs.fail({ kind: 'html' }, 'rootcacrl')
    expect(await rejection(verify(cacheOf()))).toMatchObject({ code: 'CRL_INVALID', outage: true })
  })

  test('a certificate revoked since the last refresh is refused after the next', async () => {
    const cache = cacheOf()
    await verify(cache)
    pcs.serve(
      'tdx',
      fmspc,
      'platform',
      intel.collateral({ revokedPcks: [platform.pck.serial], issued: new Date(clock) }),
    )
    clock += 24 * hour
    await cache.refreshDue()
    expect(await rejection(verify(cache))).toMatchObject({ code: 'CERT_REVOKED', outage: false })
  })
})

describe('Collateral on the disk', () => {
  test('survives a restart without network', async () => {
    const files = new MemoryFiles()
    await verify(cacheOf({ files }))
    pcs.fail({ kind: 'silent' })
    expect(await status(cacheOf({ files }))).toBe('UpToDate')
  })

  test('is due for a refresh by its own age', async () => {
    const files = new MemoryFiles()
    await verify(cacheOf({ files }))
    clock += 25 * hour
    expect(await status(cacheOf({ files }))).toBe('UpToDate')
    await verify(cacheOf({ files }))
    await settled(() => pcs.requests.length >= 4)
  })

  test.each([
    ['is cut', (bytes: Uint8Array) => bytes.subarray(0, 100)],
    [
      'was edited',
      (bytes: Uint8Array) => Buffer.from(Buffer.from(bytes).toString().replace('"body":"', '"body":"AAAA')),
    ],
    ['is empty', () => new Uint8Array()],
    ['is of another vendor', () => undefined],
  ])('is verified like anything else: a file that %s is replaced', async (_name, damage) => {
    const files = new MemoryFiles()
    await verify(cacheOf({ files }))
    const genuine = new Map(files.content)
    for (const [name, bytes] of genuine) {
      const damaged = damage(bytes)
      files.content.set(name, damaged ?? genuine.get('root-ca-crl.json') ?? bytes)
    }
    pcs.requests.splice(0)
    expect(await status(cacheOf({ files }))).toBe('UpToDate')
    expect(pcs.requests.length).toBeGreaterThanOrEqual(3)
    expect(files.content.get('pck-crl-platform.json')).toEqual(genuine.get('pck-crl-platform.json'))
  })

  test('that has expired is fetched again', async () => {
    const files = new MemoryFiles()
    await verify(cacheOf({ files }))
    clock += 24 * 30 * hour
    pcs.serve('tdx', fmspc, 'platform', intel.collateral({ issued: new Date(clock - hour) }))
    pcs.requests.splice(0)
    expect(await status(cacheOf({ files }))).toBe('UpToDate')
    expect(pcs.requests.length).toBeGreaterThanOrEqual(3)
  })

  test('that cannot be written or read is no reason to refuse a guest', async () => {
    const broken: CollateralFiles = {
      read: () => Promise.reject(new Error('EIO')),
      write: () => Promise.reject(new Error('ENOSPC')),
    }
    const cache = cacheOf({ files: broken })
    expect(await status(cache)).toBe('UpToDate')
    expect(cache.health()).toContainEqual(
      expect.objectContaining({ name: 'collateral files', healthy: false, lastError: 'ENOSPC' }),
    )
  })

  test('exported, is an offline directory', async () => {
    const cache = cacheOf()
    await verify(cache)
    const files = new MemoryFiles()
    expect(await cache.exportTo(files)).toBe(4)
    pcs.fail({ kind: 'silent' })
    const collateral = offlineDirectoryCollateral(files, 'early')
    const verifier = createTdxVerifier({ dcap: createDcap({ root, collateral }) })
    await expect(verifier.verify(evidence, { now })).resolves.toHaveLength(1)
    files.content.delete('root-ca-crl.json')
    expect((await rejection(verifier.verify(evidence, { now }))).code).toBe('COLLATERAL_UNAVAILABLE')
  })
})
