import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { isAcceptableKeySource } from '../config/rules.ts'
import { DocumentUnavailable, documentName, type FetchDocument, fetchDocument } from './document.ts'
import { keyFromJwk, keysFromPem, UnusableKey, type VerificationKey } from './verification-key.ts'

/** Names one key: by `kid`, or by RFC 7638 thumbprint. */
export type KeySelector = { readonly kid: string } | { readonly thumbprint: string }

/** Public keys that are kept up to date. */
export interface KeySource {
  /** Path, or address without query. */
  readonly name: string
  /** The keys at hand; none when they have not been had for longer than the maximum age. */
  keys(): readonly VerificationKey[]
  /** Keys at hand that fit. */
  known(selector: KeySelector): readonly VerificationKey[]
  /** Keys that fit; one that is not at hand makes the source read again, at most once in the cooldown time. */
  find(selector: KeySelector): Promise<readonly VerificationKey[]>
  /** Reads again now. Rejects when that fails; the keys at hand remain. */
  refresh(): Promise<void>
  /** Rejects while no key is at hand. For readiness. */
  ping(): Promise<void>
  close(): void
}

export interface KeySourceOptions {
  /** Path, `file://` or `https://`; `http://` only from loopback in the development profile. */
  readonly source: string
  /** A JWK set (or the base address of OpenID discovery), or PEM public keys. */
  readonly format: 'jwk-set' | 'pem'
  readonly profile: Config['profile']
  /** PEM certificates for the https server, instead of the system's. */
  readonly ca?: string | undefined
  /** File with such certificates, read for every request, so that it can be replaced. */
  readonly caFile?: string | undefined
  readonly refreshSeconds: number
  readonly cooldownSeconds: number
  readonly maxAgeSeconds: number
  readonly logger: Logger
  readonly fetchDocument?: FetchDocument
  /** Milliseconds of a clock that does not run backwards. */
  readonly now?: () => number
}

/** The source cannot give keys; the message names it. */
export class KeySourceError extends Error {
  override readonly name = 'KeySourceError'
}

const timeoutMs = 5_000
/** Between two reads while there is no key at hand: until then nothing can be verified, and nobody may be asking. */
const retryMs = 2_000
/** How long the start waits for a server's keys. */
const startPatienceMs = 1_000
/** Files are looked at this often at least: whoever replaces a key there means now. */
export const fileRefreshSeconds = 10
const maxBytes = 1_048_576
const maxKeys = 256

/**
 * Opens a source of keys. A file that cannot be used is an error now. A server that does not answer is not: the service
 * starts, is not ready, and asks again; nothing is accepted meanwhile.
 * @throws KeySourceError
 */
export async function createKeySource(options: KeySourceOptions): Promise<KeySource> {
  const location = locate(options)
  const source = new RefreshingSource(options, location)
  if (location.kind === 'file') await source.refresh()
  else await firstRead(source, options.logger)
  source.start()
  return source
}

/** Goes on reading after the start, which a server that is silent must not hold up. */
async function firstRead(source: RefreshingSource, logger: Logger): Promise<void> {
  const late = new Error(`no answer within ${startPatienceMs} ms`)
  const patience = delay(startPatienceMs, undefined, { ref: false }).then(() => Promise.reject(late))
  try {
    await Promise.race([source.refresh(), patience])
  } catch (error) {
    logger.warn({ err: error, source: source.name }, 'keys cannot be read yet')
  }
}

type Location =
  | { readonly kind: 'file'; readonly name: string; readonly path: string }
  | { readonly kind: 'web'; readonly name: string; readonly url: URL }

function locate({ source, profile }: KeySourceOptions): Location {
  if (!isAcceptableKeySource(source, profile))
    throw new KeySourceError(`${source.slice(0, 200)}: use https://, file:// or a path`)
  if (/^https?:\/\//i.test(source)) {
    const url = new URL(source)
    return { kind: 'web', name: documentName(url), url }
  }
  const path = /^file:\/\//i.test(source) ? fileURLToPath(source) : resolve(source)
  return { kind: 'file', name: path, path }
}

class RefreshingSource implements KeySource {
  readonly name: string
  readonly #options: KeySourceOptions
  readonly #location: Location
  readonly #now: () => number
  #keys: readonly VerificationKey[] = []
  /** When the keys were had last, and when they were asked for last; milliseconds. */
  #loadedAt = Number.NEGATIVE_INFINITY
  #askedAt = Number.NEGATIVE_INFINITY
  #inFlight: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: KeySourceOptions, location: Location) {
    this.#options = options
    this.#location = location
    this.name = location.name
    this.#now = options.now ?? (() => performance.now())
  }

  /** Reads again after a while, and so on. */
  start(): void {
    const { refreshSeconds } = this.#options
    const refreshMs =
      1000 * (this.#location.kind === 'file' ? Math.min(refreshSeconds, fileRefreshSeconds) : refreshSeconds)
    const waitMs = this.keys().length > 0 ? refreshMs : Math.min(refreshMs, retryMs)
    this.#timer = setTimeout(() => {
      void this.#refreshQuietly().then(() => {
        if (!this.#closed) this.start()
      })
    }, waitMs).unref()
  }

  keys(): readonly VerificationKey[] {
    return this.#now() - this.#loadedAt > this.#options.maxAgeSeconds * 1000 ? [] : this.#keys
  }

  async find(selector: KeySelector): Promise<readonly VerificationKey[]> {
    const known = this.known(selector)
    if (known.length > 0) return known
    // a read that is under way may bring the key; otherwise strangers may provoke only one in a while
    const cool = this.#now() - this.#askedAt >= this.#options.cooldownSeconds * 1000
    if (this.#inFlight === undefined && !cool) return []
    await this.#refreshQuietly()
    return this.known(selector)
  }

  refresh(): Promise<void> {
    this.#inFlight ??= this.#read().finally(() => {
      this.#inFlight = undefined
    })
    return this.#inFlight
  }

  async ping(): Promise<void> {
    if (this.keys().length === 0) throw new KeySourceError(`${this.name}: no keys at hand`)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  known(selector: KeySelector): readonly VerificationKey[] {
    return this.keys().filter((key) =>
      'kid' in selector ? key.kid === selector.kid : key.thumbprint === selector.thumbprint,
    )
  }

  async #refreshQuietly(): Promise<void> {
    try {
      await this.refresh()
    } catch (err) {
      this.#options.logger.warn(
        { err, source: this.name },
        'keys cannot be refreshed; those at hand remain for a while',
      )
    }
  }

  async #read(): Promise<void> {
    this.#askedAt = this.#now()
    try {
      const keys =
        this.#options.format === 'pem' ? await keysFromPem(await this.#text()) : await this.#keySet()
      if (keys.length === 0) throw new KeySourceError('there is no usable key')
      this.#keys = keys
      this.#loadedAt = this.#now()
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : 'failed'
      throw new KeySourceError(`${this.name}: ${why}`, { cause })
    }
  }

  async #keySet(): Promise<readonly VerificationKey[]> {
    if (this.#location.kind === 'file') return this.#usableKeys(requireKeySet(await this.#text()))
    const { url } = this.#location
    let members: JsonValue[]
    try {
      members = await this.#keySetAt(url)
    } catch (notDirect) {
      // who does not answer here does not answer there, and would take as long again to show it
      if (notDirect instanceof DocumentUnavailable && !notDirect.answered) throw notDirect
      members = await this.#discoveredKeySet(url, notDirect)
    }
    return this.#usableKeys(members)
  }

  async #keySetAt(url: URL): Promise<JsonValue[]> {
    return requireKeySet(await this.#fetch(url))
  }

  /** OpenID discovery (spec 01 §4.2): `<url>/.well-known/openid-configuration`, then its `jwks_uri`. */
  async #discoveredKeySet(base: URL, notDirect: unknown): Promise<JsonValue[]> {
    const discovery = new URL(base)
    discovery.pathname = `${discovery.pathname.replace(/\/$/, '')}/.well-known/openid-configuration`
    let document: JsonValue
    try {
      document = parseJson(await this.#fetch(discovery))
    } catch (cause) {
      throw new KeySourceError(
        `no JWK set (${messageOf(notDirect)}) and no OpenID discovery (${messageOf(cause)})`,
        { cause },
      )
    }
    const address = isJsonObject(document) ? document.jwks_uri : undefined
    if (typeof address !== 'string' || !isWebAddress(address, this.#options.profile)) {
      throw new KeySourceError('OpenID discovery has no https jwks_uri')
    }
    return this.#keySetAt(new URL(address))
  }

  async #usableKeys(members: readonly JsonValue[]): Promise<readonly VerificationKey[]> {
    const keys: VerificationKey[] = []
    for (const member of members.slice(0, maxKeys)) {
      try {
        keys.push(await keyFromJwk(member))
      } catch (error) {
        if (!(error instanceof UnusableKey)) throw error
        this.#options.logger.debug({ err: error, source: this.name }, 'a key of the set is passed over')
      }
    }
    return keys
  }

  async #text(): Promise<string> {
    if (this.#location.kind === 'web') return (await this.#fetch(this.#location.url)).toString('utf8')
    const bytes = await readFile(this.#location.path)
    if (bytes.byteLength > maxBytes) throw new KeySourceError(`larger than ${maxBytes} bytes`)
    return bytes.toString('utf8')
  }

  async #fetch(url: URL): Promise<Buffer> {
    const { caFile } = this.#options
    const ca = caFile === undefined ? this.#options.ca : await readFile(caFile, 'utf8')
    if (ca?.trim() === '') throw new KeySourceError('the file with the CA is empty')
    return (this.#options.fetchDocument ?? fetchDocument)(url, { ca, timeoutMs, maxBytes })
  }
}

function requireKeySet(document: string | Uint8Array): JsonValue[] {
  const value = parseJson(document)
  const keys = isJsonObject(value) ? (value as JsonObject).keys : undefined
  if (!Array.isArray(keys) || keys.length === 0) throw new KeySourceError('is no JWK set')
  return keys
}

function isWebAddress(address: string, profile: Config['profile']): boolean {
  return /^https?:\/\//i.test(address) && isAcceptableKeySource(address, profile)
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : 'failed'
}
