import { setTimeout as pause } from 'node:timers/promises'
import {
  decodeBase64UrlNoPad,
  generateTeeKeyPair,
  parseJson,
  parseTokenClaims,
  type TeePrivateKey,
} from '@passport-kbs/protocol'
import type { Attester } from './attester.ts'
import { type ConnectionOptions, createConnection } from './connection.ts'
import { CookieJar } from './cookie-jar.ts'
import { type HandshakeParts, handshake, type InitData } from './handshake.ts'
import { requestResource } from './resource-request.ts'
import { resourceUrl } from './resource-url.ts'

export interface GuestOptions extends ConnectionOptions {
  /** Root of the KBS, without `/kbs/v0`. */
  readonly kbsUrl: string
  readonly attester: Attester
  /** A fresh P-256 key unless given. */
  readonly teeKey?: TeePrivateKey
  readonly initData?: InitData
  /** How often `attest` tries, and how long it waits in between: 5 times, 1 s apart, unless told. */
  readonly attempts?: number
  readonly attemptIntervalMs?: number
  readonly now?: () => Date
}

/** What `attest` gives: a token, and the key to which resources will be encrypted for its bearer. */
export interface Passport {
  readonly token: string
  readonly teeKey: TeePrivateKey
}

export interface Guest {
  readonly teeKey: TeePrivateKey
  /** One handshake. */
  attestOnce(): Promise<Passport>
  /** Handshakes until one succeeds, a limited number of times. */
  attest(): Promise<Passport>
  /** The token of the last handshake while it is valid, else a new one. */
  passport(): Promise<Passport>
  /** Fetches a resource in the session of this guest, attesting when the server asks for it. Path or `kbs://` URI. */
  getResource(resource: string): Promise<Uint8Array>
}

/** The guest's client for a KBS that both attests and serves: session cookie, no token in requests (spec 01 §9.2). */
export function createGuest(options: GuestOptions): Guest {
  const { attempts = 5, attemptIntervalMs = 1000, now = () => new Date() } = options
  const teeKey = options.teeKey ?? generateTeeKeyPair()
  const cookies = new CookieJar(now)
  const connection = createConnection(options)
  const parts: HandshakeParts = {
    kbsUrl: options.kbsUrl,
    connection,
    cookies,
    attester: options.attester,
    teeKey,
    ...(options.initData === undefined ? {} : { initData: options.initData }),
  }
  let current: string | undefined

  const attestOnce = async (): Promise<Passport> => {
    current = await handshake(parts)
    return { token: current, teeKey }
  }
  const attest = async (): Promise<Passport> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await attestOnce()
      } catch (error) {
        if (attempt >= attempts) throw error
        await pause(attemptIntervalMs)
      }
    }
  }
  return {
    teeKey,
    attestOnce,
    attest,
    passport: async () =>
      current !== undefined && isTimely(current, now()) ? { token: current, teeKey } : await attest(),
    getResource: (resource) => {
      const url = resourceUrl(options.kbsUrl, resource)
      return requestResource({
        connection,
        url,
        credentials: () => cookieHeader(cookies, url),
        teeKey: () => teeKey,
        renew: async () => {
          await attestOnce()
        },
      })
    },
  }
}

function cookieHeader(cookies: CookieJar, url: URL): Record<string, string> {
  const cookie = cookies.header(url)
  return cookie === undefined ? {} : { cookie }
}

/** Looks at the times of a token without verifying it: the guest is not the one who relies on it. */
function isTimely(token: string, now: Date): boolean {
  try {
    const { exp, nbf = 0 } = parseTokenClaims(
      parseJson(decodeBase64UrlNoPad(token.split('.')[1] ?? ''), { maxDepth: 128 }),
    )
    const seconds = Math.floor(now.getTime() / 1000)
    return exp >= seconds && nbf <= seconds
  } catch {
    return false
  }
}
