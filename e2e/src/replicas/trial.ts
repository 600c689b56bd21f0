import { type Attester, sampleAttester } from '@passport-kbs/guest-client'
import { generateTeeKeyPair, type TeePrivateKey } from '@passport-kbs/protocol'
import { attestationBody, claimsOf } from '../handshake.ts'
import type { Administrator } from '../organisation.ts'
import { Faults, type Probe } from './faults.ts'
import { Journal } from './journal.ts'
import { Ledger } from './ledger.ts'
import { type Actor, type Load, seededRandom, startLoad } from './load.ts'
import {
  type AdministratorWrite,
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
/** The first words of the names of secrets that are written once each. */
const kept = 'default/test/kept'
const attestationPolicy = 'written_cpu'

/** Keys of the ledger; all are paths below `/kbs/v0/` at which the value can be read. */
const secretKey = `resource/${written}`
const valueKey = 'reference-value/written'
const policyKeys = {
  resource: 'resource-policy/resource-policy',
  attestation: `attestation-policy/${attestationPolicy}`,
} as const

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
    await this.faults.happen({ name: 'all have begun', ...nothing, probes: ready, recoveryLimit: 20_000 })
    await this.#administer('resource-policy', { body: policyMessage(policyText(0)) })
    await this.#administer(`resource/${standing}`, { body: 'standing' })
    const first = writeSecret(0, seededRandom(0))
    await this.ledger.write(first.key, first.value, async () => {
      await this.#administer(first.path, { body: first.body })
      return 'acknowledged'
    })
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
      pauseMs: 50,
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

  /** Compares what the replicas answer with what administrators were told. */
  async losses(): Promise<readonly string[]> {
    const { attestation, resources, services } = this.#installation
    const faults: (string | undefined)[] = []
    const check = (where: Replica, key: string, found: string | undefined) => {
      const fault = this.ledger.fault(key, found)
      if (fault !== undefined) faults.push(`${where.name}: ${fault}`)
    }
    const referenceValue = async ({ url }: Replica, key: string) =>
      await this.#get(url, attestation.admin, key)
    for (const replica of resources.replicas) {
      check(replica, secretKey, await this.#read(replica.url, written))
      check(replica, policyKeys.resource, await this.#policy(replica, policyKeys.resource))
    }
    for (const replica of attestation.replicas) {
      check(replica, valueKey, await referenceValue(replica, valueKey))
      // a remote attestation service shows no policies through KBS1
      if (services.length === 0)
        check(replica, policyKeys.attestation, await this.#policy(replica, policyKeys.attestation))
    }
    for (const replica of services)
      check(replica, policyKeys.attestation, await textAt(`${replica.url}/policy/${attestationPolicy}`))
    for (const [index, key] of this.ledger.keys.entries()) {
      if (key.startsWith(`resource/${kept}`)) {
        const replica = resources.replicas[index % 2 === 0 ? 0 : 1]
        check(replica, key, await this.#read(replica.url, key.slice('resource/'.length)))
      }
      if (key.startsWith(`${valueKey}-`)) {
        const replica = attestation.replicas[index % 2 === 0 ? 0 : 1]
        check(replica, key, await referenceValue(replica, key))
      }
    }
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
    const urls = attestation.replicas.map(({ url }) => url)
    return [
      ...[guest, guest, guest],
      adversaryActor(requests, urls, attester, this.attempts),
      administratorActor(requests, resources, this.ledger, writeSecret),
      administratorActor(requests, resources, this.ledger, writeResourcePolicy),
      administratorActor(requests, attestation, this.ledger, writeAttestationPolicy),
      administratorActor(requests, attestation, this.ledger, writeReferenceValue),
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

  /** Undefined where there is nothing. */
  async #get(url: string, admin: Administrator, path: string): Promise<string | undefined> {
    const heard = await this.#probes.administer(path, url, admin, { method: 'GET' })
    return heard?.status === 404 ? undefined : heard?.text
  }

  async #policy({ url }: Replica, path: string): Promise<string | undefined> {
    const text = await this.#get(url, this.#installation.resources.admin, path)
    if (text === undefined) return undefined
    const { policy = '' } = JSON.parse(text) as { readonly policy?: string }
    return Buffer.from(policy, 'base64url').toString()
  }
}

function readiness({ name, url }: Replica): Probe {
  const ask = () => fetch(`${url}/readyz`)
  return {
    name: `readiness of ${name}`,
    works: async () => (await ask()).status === 200,
    why: async () => await (await ask()).text(),
  }
}

async function textAt(url: string): Promise<string> {
  return await (await fetch(url)).text()
}

/** Every other write makes something new that nobody writes again, so that it cannot hide that it was lost. */
const isKept = (turn: number) => turn % 2 === 1

function writeSecret(turn: number, random: () => number): AdministratorWrite {
  const path = isKept(turn) ? `resource/${kept}-${turn}` : secretKey
  const value = secretText(turn, random)
  return { key: path, value, path, body: value }
}

function writeReferenceValue(turn: number): AdministratorWrite {
  const key = isKept(turn) ? `${valueKey}-${turn}` : valueKey
  const value = JSON.stringify([`version-${turn}`])
  const name = key.slice('reference-value/'.length)
  const payload = Buffer.from(`{"${name}":${value}}`).toString('base64')
  const body = JSON.stringify({ version: '0.1.0', type: 'sample', payload })
  return { key, value, path: 'reference-value', body }
}

function writeResourcePolicy(turn: number): AdministratorWrite {
  const value = policyText(turn + 1)
  return { key: policyKeys.resource, value, path: 'resource-policy', body: policyMessage(value) }
}

function writeAttestationPolicy(turn: number): AdministratorWrite {
  const value = policyText(turn + 1)
  const body = policyMessage(value, { policy_id: attestationPolicy, type: 'rego' })
  return { key: policyKeys.attestation, value, path: 'attestation-policy', body }
}

function policyText(version: number): string {
  return `package policy\n\n# version ${version}\ndefault allow := true\n`
}

function policyMessage(text: string, others: Readonly<Record<string, string>> = {}): string {
  return JSON.stringify({ ...others, policy: Buffer.from(text).toString('base64url') })
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
