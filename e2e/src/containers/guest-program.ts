/**
 * A guest on a machine of the wire: reads one request a line from standard input and answers each with a line. TEE keys
 * never leave it.
 */
import { request } from 'node:https'
import { createInterface } from 'node:readline'
import type { TLSSocket } from 'node:tls'
import {
  type Attester,
  createGuest,
  type GuestError,
  getResourceWithPassport,
  type Passport,
} from '@passport-kbs/guest-client'
import type { JsonObject } from '@passport-kbs/protocol'
import { rootFiles, type VirtualTee, type VirtualTeeName, virtualTees } from '../virtual-tees.ts'

/** What can be asked of it, by name: parameters and answer. */
export interface GuestRequests {
  /** What is known of this guest's TEE without asking any server. */
  readonly describe: [{ readonly tee: VirtualTeeName }, TeeDescription]
  /**
   * One handshake, with this evidence where any is given, instead of what the TEE signs. Where it `pauses`, it waits
   * between its two requests until `resume`.
   */
  readonly attest: [
    {
      readonly tee: VirtualTeeName
      readonly url: string
      readonly ca: string
      readonly pauses?: boolean
      readonly evidence?: JsonObject
    },
    Attested,
  ]
  readonly resume: [Record<never, never>, null]
  /** With a passport of this guest; `keyOf` names the one whose key opens the answer, where it is another. */
  readonly read: [
    {
      readonly url: string
      readonly ca: string
      readonly path: string
      readonly token: string
      readonly keyOf?: string
    },
    Secret,
  ]
  /** Handshake and secret in one session, as with a KBS that does both. */
  readonly readInSession: [
    { readonly tee: VirtualTeeName; readonly url: string; readonly ca: string; readonly path: string },
    Secret,
  ]
  readonly fetch: [
    {
      readonly url: string
      readonly ca: string
      readonly method?: string
      readonly headers?: Record<string, string>
      readonly body?: string
    },
    Fetched,
  ]
}

export interface TeeDescription {
  readonly referenceValues: unknown
  /** Files of a `trusted_roots` folder. */
  readonly roots: Readonly<Record<string, string>>
}

export type Attested = { readonly token: string } | { readonly refusal: Refusal }
/** In base64. */
export type Secret = { readonly secret: string } | { readonly refusal: Refusal }
export type Fetched =
  | { readonly status: number; readonly body: string; readonly certificate: string }
  | { readonly error: string }

export interface Refusal {
  readonly code: string
  readonly status: number | undefined
  readonly information: unknown
}

type Handlers = {
  readonly [Name in keyof GuestRequests]: (
    parameters: GuestRequests[Name][0],
  ) => GuestRequests[Name][1] | Promise<GuestRequests[Name][1]>
}

const fetchTimeoutMs = 5_000
const tees = new Map<VirtualTeeName, VirtualTee>()
let resumed = Promise.withResolvers<void>()
const passports = new Map<string, Passport>()

/** The same machine each time. */
function teeOf(name: VirtualTeeName): VirtualTee {
  const tee = tees.get(name) ?? virtualTees[name]()
  tees.set(name, tee)
  return tee
}

const handlers: Handlers = {
  describe: ({ tee }) => ({
    referenceValues: teeOf(tee).referenceValues,
    roots: Object.fromEntries(rootFiles()),
  }),
  attest: ({ tee, url, ca, pauses = false, evidence: recorded }) =>
    refusedOr(async () => {
      const { attester } = teeOf(tee)
      const evidence: Attester['evidence'] = async (reportData) => {
        if (pauses) await resumed.promise
        return recorded ?? attester.evidence(reportData)
      }
      const guest = createGuest({ kbsUrl: url, ca, attester: { ...attester, evidence } })
      const passport = await guest.attestOnce()
      passports.set(passport.token, passport)
      return { token: passport.token }
    }),
  resume: () => {
    resumed.resolve()
    resumed = Promise.withResolvers()
    return null
  },
  read: ({ url, ca, path, token, keyOf = token }) =>
    refusedOr(async () => {
      const passport = passports.get(keyOf)
      if (passport === undefined) throw new Error('a passport of another guest')
      const { teeKey } = passport
      return secretOf(await getResourceWithPassport({ kbsUrl: url, ca, token, teeKey, path }))
    }),
  readInSession: ({ tee, url, ca, path }) =>
    refusedOr(async () =>
      secretOf(await createGuest({ kbsUrl: url, ca, attester: teeOf(tee).attester }).getResource(path)),
    ),
  fetch: ({ url, ca, method = 'GET', headers = {}, body }) => {
    const { promise, resolve } = Promise.withResolvers<Fetched>()
    const sent = request(url, { ca, method, headers, timeout: fetchTimeoutMs, agent: false }, (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      const certificate = (answer.socket as TLSSocket).getPeerCertificate().fingerprint256
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body: text, certificate }))
    })
    sent.once('error', (error) => resolve({ error: codeOf(error) }))
    sent.once('timeout', () => {
      resolve({ error: 'ETIMEDOUT' })
      sent.destroy()
    })
    sent.end(body)
    return promise
  },
}

function secretOf(secret: Uint8Array): Secret {
  return { secret: Buffer.from(secret).toString('base64') }
}

async function refusedOr<T>(attempt: () => Promise<T>): Promise<T | { readonly refusal: Refusal }> {
  try {
    return await attempt()
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'GuestError') throw error
    const { code, status, information, message } = error as GuestError
    return { refusal: { code, status, information: information ?? message } }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, name, parameters } = JSON.parse(line) as {
    readonly id: number
    readonly name: keyof Handlers
    readonly parameters: never
  }
  // several may be under way
  void (async () => {
    const outcome = await Promise.resolve(handlers[name](parameters)).then(
      (answer) => ({ answer }),
      (error) => ({ failure: String(error) }),
    )
    process.stdout.write(`${JSON.stringify({ id, ...outcome })}\n`)
  })()
}
