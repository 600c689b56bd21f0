import type { Attester } from '@passport-kbs/guest-client'
import {
  generateTeeKeyPair,
  openWithTeeKey,
  parseJson,
  parseJweResponse,
  type TeePrivateKey,
  teeKeyThumbprint,
} from '@passport-kbs/protocol'
import { attestationBody } from '../handshake.ts'
import type { Administrator } from '../organisation.ts'
import type { Asking, Heard, Journal } from './journal.ts'
import type { Ledger, WriteEnd } from './ledger.ts'
import type { Actor } from './load.ts'
import type { Entrance, Replicated } from './replicated.ts'

/** A session after `/auth`, as a guest knows it. */
export interface Session {
  readonly cookie: string
  readonly nonce: string
}

/** The requests of guests and administrators, each of them noted in the journal. */
export interface Requests {
  readonly journal: Journal
  auth(url: string, attester: Attester, asking?: Asking): Promise<Session | undefined>
  /** @returns the token */
  attest(url: string, session: Session, body: string, asking?: Asking): Promise<string | undefined>
  /** The same by somebody who may well be refused. */
  replay(url: string, session: Session, body: string): Promise<string | undefined>
  /** Reads and opens a secret. @param credentials `authorization` or `cookie` */
  read(
    url: string,
    path: string,
    credentials: Readonly<Record<string, string>>,
    teeKey: TeePrivateKey,
    asking?: Asking,
  ): Promise<string | undefined>
  /** A request of the administrator, below `/kbs/v0/`. */
  administer(path: string, url: string, admin: Administrator, asking?: Asking): Promise<Heard | undefined>
}

export function requestsIn(journal: Journal): Requests {
  const attestAs =
    (operation: 'attest' | 'replay') =>
    async (url: string, { cookie }: Session, body: string, asking?: Asking) => {
      const headers = { 'content-type': 'application/json', cookie }
      const heard = await journal.ask(operation, `${url}/kbs/v0/attest`, { headers, body, ...asking })
      return heard?.status === 200 ? (JSON.parse(heard.text) as { token: string }).token : undefined
    }
  return {
    journal,
    attest: attestAs('attest'),
    replay: attestAs('replay'),
    async auth(url, attester, asking) {
      const heard = await journal.ask('auth', `${url}/kbs/v0/auth`, {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ version: '0.4.0', tee: attester.tee, 'extra-params': '' }),
        ...asking,
      })
      if (heard?.status !== 200) return undefined
      const [cookie = ''] = (heard.headers.get('set-cookie') ?? '').split(';')
      return { cookie, nonce: (JSON.parse(heard.text) as { nonce: string }).nonce }
    },
    async read(url, path, credentials, teeKey, asking) {
      const address = `${url}/kbs/v0/resource/${path}`
      const heard = await journal.ask('read', address, { method: 'GET', headers: credentials, ...asking })
      if (heard?.status !== 200) return undefined
      return Buffer.from(openWithTeeKey(teeKey, parseJweResponse(parseJson(heard.text)))).toString()
    },
    async administer(path, url, admin, asking) {
      const headers = { authorization: `Bearer ${await admin.token()}` }
      const [operation = path] = path.split('/')
      return await journal.ask(operation, `${url}/kbs/v0/${path}`, { headers, ...asking })
    },
  }
}

/** A guest that goes through a whole handshake each turn, and reads a secret. @param seen told what it has read */
export function guestActor(
  requests: Requests,
  { attestation, resources, credentials }: Replicated,
  attester: Attester,
  path: string,
  seen: (secret: string) => void,
): Actor {
  return async (_turn, random) => {
    const asking = { fresh: random() < 0.5 }
    const teeKey = generateTeeKeyPair()
    const session = await requests.auth(attestation.url, attester, asking)
    if (session === undefined) return
    const body = await attestationBody(attester, session.nonce, teeKey)
    const token = await requests.attest(attestation.url, session, body, asking)
    if (token === undefined) return
    const secret = await requests.read(resources.url, path, credentials(session, token), teeKey, asking)
    if (secret !== undefined) seen(secret)
  }
}

/** What an administrator writes in one turn. */
export interface AdministratorWrite {
  /** In the ledger. */
  readonly key: string
  readonly value: string
  /** Below `/kbs/v0/`. */
  readonly path: string
  readonly body: string
}

/** An administrator that writes one thing each turn, and enters in the ledger what became of it. */
export function administratorActor(
  requests: Requests,
  { url, admin }: Entrance,
  ledger: Ledger,
  next: (turn: number, random: () => number) => AdministratorWrite,
): Actor {
  return async (turn, random) => {
    const { key, value, path, body } = next(turn, random)
    const asking = { fresh: random() < 0.3, body }
    await ledger.write(key, value, async () => endOf(await requests.administer(path, url, admin, asking)))
  }
}

function endOf(heard: Heard | undefined): WriteEnd {
  if (heard === undefined || heard.status >= 500) return 'unknown'
  return heard.status === 200 ? 'acknowledged' : 'refused'
}

/** What an adversary has tried with one nonce. */
export interface Attempt {
  readonly session: Session
  /** Attestations for its nonce, each with another TEE key. */
  readonly bodies: string[]
  /** RFC 7638 thumbprints of these keys. */
  readonly teeKeys: Set<string>
  /** All tokens that anybody was given for it. */
  readonly tokens: Set<string>
}

/**
 * An adversary that has one nonce and asks all replicas at once, each several times, with several TEE keys. It is glad of
 * any second token.
 */
export function adversaryActor(
  requests: Requests,
  urls: readonly string[],
  attester: Attester,
  attempts: Attempt[],
): Actor {
  return async (_turn, random) => {
    const session = await requests.auth(urls[Math.floor(random() * urls.length)] ?? '', attester)
    if (session === undefined) return
    const attempt: Attempt = { session, bodies: [], teeKeys: new Set(), tokens: new Set() }
    attempts.push(attempt)
    await addAttestation(attempt, attester)
    await addAttestation(attempt, attester)
    const rounds = urls.flatMap((url) => attempt.bodies.map((body) => ({ url, body, order: random() })))
    rounds.sort((a, b) => a.order - b.order)
    await Promise.all(rounds.map(({ url, body }) => replay(requests, attempt, url, body)))
  }
}

/** Makes an attestation with a new TEE key. */
export async function addAttestation(attempt: Attempt, attester: Attester): Promise<void> {
  const teeKey = generateTeeKeyPair()
  attempt.teeKeys.add(teeKeyThumbprint(teeKey.publicKey))
  attempt.bodies.push(await attestationBody(attester, attempt.session.nonce, teeKey))
}

/** Sends an attestation, perhaps not for the first time. */
export async function replay(requests: Requests, attempt: Attempt, url: string, body: string): Promise<void> {
  const token = await requests.replay(url, attempt.session, body)
  if (token !== undefined) attempt.tokens.add(token)
}
