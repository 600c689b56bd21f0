import { CheckFailure } from '../rejection.ts'
import type { IntelRoot } from './certificate-chain.ts'
import type {
  CollateralDocument,
  CollateralRequest,
  CollateralSource,
  QuoteCollateral,
} from './collateral.ts'
import { type AdmitCollateral, createAdmission, type DocumentWindow } from './collateral-admission.ts'
import { type CollateralFiles, readStored, writeStored } from './collateral-files.ts'
import {
  type CollateralKey,
  type CollateralUpstream,
  collateralName,
  type TcbUpdateType,
} from './collateral-key.ts'
import { createUpstreamPool, type UpstreamHealth } from './collateral-pool.ts'
import { intelSgxRootCa } from './intel-root.ts'
import type { PckCa, PckIssuer } from './pck-certificate.ts'

export interface CollateralCacheOptions {
  /** Tried in this order. */
  readonly upstreams: readonly CollateralUpstream[]
  readonly update: TcbUpdateType
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number
  readonly root?: IntelRoot
  /** Where documents survive a restart. What is read from there is verified like anything else. */
  readonly files?: CollateralFiles
  /** Oldest age at which a document is used without an attempt to fetch it again; 24 hours unless told. */
  readonly maxAgeMs?: number
  /** How long a document is used after it was last fetched; as long as it is valid unless told. */
  readonly usableMs?: number
  /** How long a failure is remembered; 60 seconds unless told. */
  readonly negativeMs?: number
  /** For one answer of one upstream; 10 seconds unless told. */
  readonly timeoutMs?: number
  /** For one document from all upstreams; 20 seconds unless told. */
  readonly deadlineMs?: number
  /** Documents kept; 256 unless told. The least recently used goes first. */
  readonly maxDocuments?: number
}

/** One cached document, for metrics and for an export. */
export interface CachedCollateral {
  readonly name: string
  readonly upstream: string
  readonly retrievedAt: Date
  readonly nextUpdate: Date
}

/** A platform whose collateral is wanted before a quote asks for it. */
export interface PlatformCollateral {
  readonly tee: 'tdx' | 'sgx'
  /** 12 hex digits. */
  readonly fmspc: string
  readonly ca: PckCa
}

/** Collateral from upstreams, kept while it is valid (spec 04 §5.7). */
export interface CollateralCache extends CollateralSource {
  /** Fetches what a platform needs, ahead of its first quote. @throws CheckFailure as `collateralFor` */
  prefetch(platform: PlatformCollateral): Promise<void>
  /** Fetches again whatever has reached its refresh time; for a timer. Failures show in `health`. */
  refreshDue(): Promise<void>
  documents(): readonly CachedCollateral[]
  /** Writes all documents as `offlineDirectoryCollateral` reads them; gives their number. */
  exportTo(files: CollateralFiles): Promise<number>
  health(): readonly UpstreamHealth[]
}

interface Entry {
  readonly key: CollateralKey
  readonly issuer: PckIssuer | undefined
  readonly document: CollateralDocument
  readonly window: DocumentWindow
  readonly upstream: string
  readonly retrievedAt: number
  /** Moves on when a refresh fails. */
  refreshAt: number
}

/** A failure is remembered; what is expired is still handed out, for the verifier to refuse or to report. */
interface Failure {
  readonly error: CheckFailure
  readonly expired: CollateralDocument | undefined
  readonly until: number
}

/** The name under which `health` tells how writing to `files` went. */
const filesHealth = 'collateral files'

/** Makes a cache in front of upstreams. It starts no timer: whoever owns the process calls `refreshDue`. */
export function createCollateralCache(options: CollateralCacheOptions): CollateralCache {
  return new Cache(options)
}

class Cache implements CollateralCache {
  readonly #options: Required<Omit<CollateralCacheOptions, 'files' | 'root'>>
  readonly #files: CollateralFiles | undefined
  readonly #admit: AdmitCollateral
  readonly #pool: ReturnType<typeof createUpstreamPool>
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry>()
  readonly #failures = new Map<string, Failure>()
  readonly #flights = new Map<string, Promise<CollateralDocument>>()

  constructor({ files, root = intelSgxRootCa, ...options }: CollateralCacheOptions) {
    this.#options = {
      maxAgeMs: 86_400_000,
      usableMs: Number.POSITIVE_INFINITY,
      negativeMs: 60_000,
      timeoutMs: 10_000,
      deadlineMs: 20_000,
      maxDocuments: 256,
      ...options,
    }
    this.#files = files
    this.#admit = createAdmission(root)
    this.#pool = createUpstreamPool(this.#options)
  }

  collateralFor({ tee, fmspc, issuer }: CollateralRequest): Promise<QuoteCollateral> {
    return this.#all({ tee, fmspc, ca: issuer.ca }, issuer)
  }

  async prefetch({ tee, fmspc, ca }: PlatformCollateral): Promise<void> {
    await this.#all({ tee, fmspc: fmspc.toLowerCase(), ca }, undefined)
  }

  async refreshDue(): Promise<void> {
    const now = this.#options.now()
    const due = [...this.#entries.values()].filter((entry) => entry.refreshAt <= now)
    await Promise.all(due.map((entry) => this.#refresh(entry)))
  }

  documents(): readonly CachedCollateral[] {
    return Array.from(this.#entries, ([name, { upstream, retrievedAt, window }]) => ({
      name,
      upstream,
      retrievedAt: new Date(retrievedAt),
      nextUpdate: new Date(window.end),
    }))
  }

  async exportTo(files: CollateralFiles): Promise<number> {
    const entries = [...this.#entries]
    for (const [name, entry] of entries) await writeStored(files, name, entry)
    return entries.length
  }

  health(): readonly UpstreamHealth[] {
    return this.#pool.health()
  }

  async #all(
    { tee, fmspc, ca }: PlatformCollateral,
    issuer: PckIssuer | undefined,
  ): Promise<QuoteCollateral> {
    const wanted = [
      this.#document({ kind: 'tcb-info', tee, fmspc }, undefined),
      this.#document({ kind: 'qe-identity', tee }, undefined),
      this.#document({ kind: 'pck-crl', ca }, issuer),
      this.#document({ kind: 'root-ca-crl' }, undefined),
    ] as const
    // all of them end before the first failure is reported, so that none fails unobserved
    await Promise.allSettled(wanted)
    const [tcbInfo, qeIdentity, pckCrl, rootCaCrl] = await Promise.all(wanted)
    return { tcbInfo, qeIdentity, pckCrl, rootCaCrl }
  }

  async #document(key: CollateralKey, issuer: PckIssuer | undefined): Promise<CollateralDocument> {
    const name = collateralName(key, this.#options.update)
    const now = this.#options.now()
    const entry = this.#entries.get(name)
    if (entry !== undefined && this.#isUsable(entry, now)) {
      this.#touch(name, entry)
      if (entry.refreshAt <= now) void this.#refresh(entry)
      return entry.document
    }
    const failure = this.#failures.get(name)
    if (failure !== undefined && now < failure.until) {
      return failure.expired ?? failAgain(failure.error)
    }
    return this.#load(name, key, issuer)
  }

  /** One load a document at a time, whoever asks. */
  #load(name: string, key: CollateralKey, issuer: PckIssuer | undefined): Promise<CollateralDocument> {
    const running = this.#flights.get(name)
    if (running !== undefined) return running
    const flight = this.#loadOnce(name, key, issuer).finally(() => this.#flights.delete(name))
    this.#flights.set(name, flight)
    return flight
  }

  async #loadOnce(
    name: string,
    key: CollateralKey,
    issuer: PckIssuer | undefined,
  ): Promise<CollateralDocument> {
    const stored = this.#entries.has(name) ? undefined : await this.#fromFiles(name, key, issuer)
    if (stored !== undefined) {
      if (stored.refreshAt <= this.#options.now()) void this.#refresh(stored)
      return stored.document
    }
    return this.#fromUpstreams(name, key, issuer)
  }

  /** Refreshes in the background: what is cached goes on serving whatever happens here. */
  async #refresh(entry: Entry): Promise<void> {
    const name = collateralName(entry.key, this.#options.update)
    if (this.#flights.has(name)) return
    entry.refreshAt = this.#options.now() + this.#options.negativeMs
    const flight = this.#fromUpstreams(name, entry.key, entry.issuer).finally(() =>
      this.#flights.delete(name),
    )
    // a request that finds the entry expired meanwhile waits for this flight
    this.#flights.set(name, flight)
    await flight.catch(() => undefined)
  }

  async #fromUpstreams(
    name: string,
    key: CollateralKey,
    issuer: PckIssuer | undefined,
  ): Promise<CollateralDocument> {
    const outcome = await this.#pool.fetch(key, (document) => this.#admit(key, document, issuer))
    if ('error' in outcome) {
      const until = this.#options.now() + this.#options.negativeMs
      this.#remember(this.#failures, name, { ...outcome, until })
      return outcome.expired ?? failAgain(outcome.error)
    }
    const known = this.#entries.get(name)
    // a stale mirror must not undo what is known already
    if (
      known !== undefined &&
      known.window.begin > outcome.window.begin &&
      this.#options.now() <= known.window.end
    ) {
      return known.document
    }
    const entry = this.#keep(name, { key, issuer, retrievedAt: this.#options.now(), ...outcome })
    await this.#toFiles(name, entry)
    return entry.document
  }

  #keep(name: string, fields: Omit<Entry, 'refreshAt'>): Entry {
    const { window, retrievedAt } = fields
    const halfLife = Math.max(0, window.end - retrievedAt) / 2
    const entry = { ...fields, refreshAt: retrievedAt + Math.min(halfLife, this.#options.maxAgeMs) }
    this.#failures.delete(name)
    this.#remember(this.#entries, name, entry)
    return entry
  }

  #isUsable({ window, retrievedAt }: Pick<Entry, 'window' | 'retrievedAt'>, now: number): boolean {
    return now <= window.end && now <= retrievedAt + this.#options.usableMs
  }

  #touch(name: string, entry: Entry): void {
    this.#entries.delete(name)
    this.#entries.set(name, entry)
  }

  #remember<T>(map: Map<string, T>, name: string, value: T): void {
    map.delete(name)
    map.set(name, value)
    const [oldest] = map.keys()
    if (map.size > this.#options.maxDocuments && oldest !== undefined) map.delete(oldest)
  }

  async #fromFiles(
    name: string,
    key: CollateralKey,
    issuer: PckIssuer | undefined,
  ): Promise<Entry | undefined> {
    if (this.#files === undefined) return undefined
    try {
      const stored = await readStored(this.#files, name)
      if (stored === undefined) return undefined
      const { document, upstream } = stored
      const window = this.#admit(key, document, issuer)
      const now = this.#options.now()
      // a clock that ran ahead when this was written must not put off the next refresh
      const retrievedAt = Math.min(stored.retrievedAt, now)
      const fields = { key, issuer, document, window, upstream, retrievedAt }
      return this.#isUsable(fields, now) ? this.#keep(name, fields) : undefined
    } catch {
      // damaged or unreadable: the upstreams have the genuine document, and it overwrites this one
      return undefined
    }
  }

  async #toFiles(name: string, { document, upstream, retrievedAt }: Entry): Promise<void> {
    if (this.#files === undefined) return
    try {
      await writeStored(this.#files, name, { document, upstream, retrievedAt })
      this.#pool.note(filesHealth)
    } catch (cause) {
      this.#pool.note(filesHealth, cause)
    }
  }
}

/** For each who asks an error of its own. */
function failAgain(cause: CheckFailure): never {
  throw new CheckFailure(cause.code, cause.message, { cause, outage: cause.outage })
}
