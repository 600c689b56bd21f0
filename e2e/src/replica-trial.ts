import { type Attester, sampleAttester } from '@passport-kbs/guest-client'
import { generateTeeKeyPair, type TeePrivateKey } from '@passport-kbs/protocol'
import { Faults, type Probe } from './faults.ts'
import { attestationBody, claimsOf } from './handshake.ts'
import { Journal } from './journal.ts'
import { Ledger } from './ledger.ts'
import { type Actor, type Load, startLoad } from './load.ts'
import {
  type Attempt,
  addAttestation,
  administratorActor,
  adversaryActor,
  guestActor,
  type Requests,
  replay,
  requestsIn,
  type Session,
} from './replica-load.ts'
import { type Replica, trailOf } from './replicas.ts'
import type { Replicated } from './replicated.ts'

const attester: Attester = sampleAttester()
/** Written again and again. */
const written = 'default/test/written'
/** Written once, for probes. */
const standing = 'default/test/standing'
const attestationPolicy = 'written_cpu'

/** A write that nobody has acknowledged has reached its store by then, or never will. */
const settlingMs = 1_000
const settlingLimitMs = 10_000

/** What guests and administrators ask for, by the program that answers it. */
export const operations = {
  attestation: ['auth', 'attest', 'replay', 'reference-value', 'attestation-policy'],
  /** Of these, those for which the attestation service is asked. */
  evaluation: ['attest', 'replay', 'reference-value', 'attestation-policy'],
  resources: ['read', 'resource', 'resource-policy'],
} as const

/**
 * Guests, administrators and an adversary at work on an installation, what they see of it, and in the end the account:
 * was anything lost, was anything accepted twice?
 */
export class ReplicaTrial {
  readonly journal = new Journal()
  readonly faults = new Faults()
  readonly ledger = new Ledger(settlingMs)
  /** What the adversary has tried. */
  readonly attempts: Attempt[] = []
  /** Values of the secret that guests have read. */
  readonly secretsSeen = new Set<string>()
  readonly #installation: Replicated
  readonly #probes = requestsIn(new Journal())
  #passport: { readonly session: Session; readonly token: string; readonly teeKey: TeePrivateKey } | undefined
  #load: Load | undefined

  constructor(installation: Replicated) {
    this.#installation = installation
  }

  /** Waits until everything works, sets a policy and a secret, and starts the load. */
  async begin(): Promise<void> {
    const { attestation, resources } = this.#installation
    const ready = this.#replicas().map(readiness)
    const nothing = { tolerated: {}, happen: async () => {} }
    await this.faults.happen({ name: 'all begin at once', ...nothing, probes: ready, recoveryLimit: 20_000 })
    await this.#administer('resource-policy', { body: policyMessage({ policy: policyText(0) }) })
    await this.#administer(`resource/${standing}`, { body: 'standing' })
    const teeKey = generateTeeKeyPair()
    const session = await this.#probes.auth(attestation.url, attester)
    if (session === undefined) throw new Error('no session')
    const body = await attestationBody(attester, session.nonce, teeKey)
    const token = await this.#probes.attest(attestation.url, session, body)
    if (token === undefined) throw new Error('no token')
    this.#passport = { session, token, teeKey }
    if ((await this.#read(resources.url, standing)) !== 'standing') throw new Error('no secret')
    this.#load = startLoad(this.journal, this.#actors(), {
      seed: 5,
      maxTurns: 4_000,
      maxMs: 120_000,
      pauseMs: 40,
    })
  }

  /** What must work after each fault: every replica by itself does what guests ask of it, and says that it is ready. */
  probes(): readonly Probe[] {
    const { attestation, resources } = this.#installation
    return [
      ...this.#replicas().map(readiness),
      ...attestation.replicas.map(({ name, url }) => ({
        name: `a handshake with ${name}`,
        works: () => this.#handshake(url),
      })),
      ...resources.replicas.map(({ name, url }) => ({
        name: `a secret from ${name}`,
        works: async () => (await this.#read(url, standing)) === 'standing',
      })),
    ]
  }

  /** Ends the load, once it is certain what must be where. */
  async end(): Promise<void> {
    const deadline = performance.now() + settlingLimitMs
    while (!this.ledger.isSettled() && performance.now() < deadline)
      await this.journal.next(({ outcome }) => outcome === 'done')
    await this.#load?.stop()
  }

  /**
   * Tries once more every attestation that the adversary has made, and new ones for the same nonces, on every replica.
   * @returns nonces for which there is more than one token
   */
  async acceptedTwice(): Promise<readonly string[]> {
    const urls = this.#installation.attestation.replicas.map(({ url }) => url)
    for (const attempt of this.attempts) await addAttestation(attempt, attester)
    await Promise.all(
      urls.map(async (url) => {
        for (const attempt of this.attempts)
          for (const body of attempt.bodies) await replay(this.#probes, attempt, url, body)
      }),
    )
    return this.attempts.flatMap(({ session, tokens }) => (tokens.size > 1 ? [session.nonce] : []))
  }

  /**
   * Compares the passports that the adversary was given with the audit trails.
   * @returns passports that are in none, passports that are there twice, and nonces for which there is more than one,
   *   though all but one were perhaps not given to anybody
   */
  mints(): Record<'unrecorded' | 'twice' | 'forOneNonce', readonly unknown[]> {
    const minted = trailOf(this.#installation.attestation.replicas).filter(
      ({ event, decision }) => event === 'attestation' && decision === 'allowed',
    )
    const ids = minted.map(({ jti }) => jti)
    const given = this.attempts.flatMap(({ tokens }) => [...tokens].map((token) => claimsOf(token).jti))
    const mintedFor = ({ teeKeys }: Attempt) =>
      minted.filter(({ teeKeyThumbprint }) => teeKeys.has(String(teeKeyThumbprint))).length
    return {
      unrecorded: given.filter((jti) => !ids.includes(jti)),
      twice: ids.filter((jti, index) => ids.indexOf(jti) !== index),
      forOneNonce: this.attempts.flatMap((attempt) =>
        mintedFor(attempt) > 1 ? [attempt.session.nonce] : [],
      ),
    }
  }

  /** Compares what every replica answers with what administrators were told. */
  async losses(): Promise<readonly string[]> {
    const { attestation, resources, services } = this.#installation
    const faults: (string | undefined)[] = []
    const check = (where: string, key: string, found: string | undefined) => {
      const fault = this.ledger.fault(key, found)
      if (fault !== undefined) faults.push(`${where}: ${fault}`)
    }
    for (const { name, url } of resources.replicas) {
      check(name, written, await this.#read(url, written))
      check(name, 'resource-policy', await this.#policy(url, 'resource-policy/resource-policy'))
    }
    for (const { name, url } of attestation.replicas) {
      const path = 'reference-value/replicas'
      const value = await this.#probes.administer(path, url, attestation.admin, { method: 'GET' })
      check(name, 'reference-value', value?.text)
      // a remote attestation service shows no policies through KBS1
      if (services.length === 0)
        check(name, 'attestation-policy', await this.#policy(url, `attestation-policy/${attestationPolicy}`))
    }
    for (const { name, url } of services)
      check(name, 'attestation-policy', await textAt(`${url}/policy/${attestationPolicy}`))
    for (const secret of this.secretsSeen) if (!isWhole(secret)) faults.push('a guest has read half a secret')
    return faults.filter((fault) => fault !== undefined)
  }

  /** Ids of requests that these processes have answered, though no client has heard the answer. */
  unheard(programs: readonly Replica['program'][]): readonly unknown[] {
    const heard = new Set([...this.journal.answered(), ...this.#probes.journal.answered()])
    return programs
      .flatMap((program) => program.log())
      .filter(
        ({ msg, plugin, requestId }) =>
          msg === 'request' && plugin !== undefined && !heard.has(String(requestId)),
      )
      .map(({ requestId, plugin, status }) => ({ requestId, plugin, status }))
  }

  #replicas(): readonly Replica[] {
    const { attestation, resources, services } = this.#installation
    return [...new Set([...services, ...attestation.replicas, ...resources.replicas])]
  }

  #actors(): readonly Actor[] {
    const { attestation, resources } = this.#installation
    const requests: Requests = requestsIn(this.journal)
    const guest = guestActor(requests, this.#installation, attester, written, (secret) =>
      this.secretsSeen.add(secret),
    )
    const administrator = (key: string, textOf: (turn: number, random: () => number) => string) => ({
      through: (path: string, { url, admin }: typeof attestation, bodyOf: (value: string) => string) =>
        administratorActor(this.ledger, key, textOf, (value, asking) =>
          requests.administer(path, url, admin, { body: bodyOf(value), ...asking }),
        ),
    })
    const policy = (turn: number) => policyText(turn + 1)
    const urls = attestation.replicas.map(({ url }) => url)
    return [
      ...[guest, guest, guest],
      adversaryActor(requests, urls, attester, this.attempts),
      administrator(written, secretText).through(`resource/${written}`, resources, (value) => value),
      administrator('resource-policy', policy).through('resource-policy', resources, (value) =>
        policyMessage({ policy: value }),
      ),
      administrator('attestation-policy', policy).through('attestation-policy', attestation, (value) =>
        policyMessage({ policy: value, policy_id: attestationPolicy, type: 'rego' }),
      ),
      administrator('reference-value', (turn) => JSON.stringify([`version-${turn}`])).through(
        'reference-value',
        attestation,
        referenceValueMessage,
      ),
    ]
  }

  async #handshake(url: string): Promise<boolean> {
    const session = await this.#probes.auth(url, attester, { fresh: true })
    if (session === undefined) return false
    const body = await attestationBody(attester, session.nonce)
    return (await this.#probes.attest(url, session, body, { fresh: true })) !== undefined
  }

  async #read(url: string, path: string): Promise<string | undefined> {
    if (this.#passport === undefined) throw new Error('there is no passport yet')
    const { session, token, teeKey } = this.#passport
    const credentials = this.#installation.credentials(session, token)
    return await this.#probes.read(url, path, credentials, teeKey, { fresh: true })
  }

  async #administer(path: string, asking: { readonly body: string }): Promise<void> {
    const { url, admin } = this.#installation.resources
    const heard = await this.#probes.administer(path, url, admin, asking)
    if (heard?.status !== 200) throw new Error(`${path}: ${heard?.text}`)
  }

  async #policy(url: string, path: string): Promise<string | undefined> {
    const { admin } = this.#installation.resources
    const heard = await this.#probes.administer(path, url, admin, { method: 'GET' })
    if (heard?.status !== 200) return heard?.text
    const { policy } = JSON.parse(heard.text) as { readonly policy: string }
    return Buffer.from(policy, 'base64url').toString()
  }
}

function readiness({ name, url }: Replica): Probe {
  return { name: `readiness of ${name}`, works: async () => (await fetch(`${url}/readyz`)).status === 200 }
}

async function textAt(url: string): Promise<string> {
  return await (await fetch(url)).text()
}

function policyText(version: number): string {
  return `package policy\n\n# version ${version}\ndefault allow := true\n`
}

function policyMessage(members: { readonly policy: string; readonly [name: string]: string }): string {
  return JSON.stringify({ ...members, policy: Buffer.from(members.policy).toString('base64url') })
}

function referenceValueMessage(value: string): string {
  const payload = Buffer.from(`{"replicas":${value}}`).toString('base64')
  return JSON.stringify({ version: '0.1.0', type: 'sample', payload })
}

const filling = 'x'.repeat(2_000)

/** A text that shows whether it is whole: it ends as it begins. */
function secretText(turn: number, random: () => number): string {
  const mark = `secret ${turn} ${random()}`
  return `${mark}|${filling}|${mark}`
}

function isWhole(text: string): boolean {
  const [first, middle, last] = text.split('|')
  return first === last && middle === filling
}
