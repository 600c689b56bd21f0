import { readFile } from 'node:fs/promises'
import { StorageUnavailable } from '../../key-value-store.ts'
import type { VaultAccess } from './vault-config.ts'
import { isObject, type VaultAnswer, type VaultConnection } from './vault-connection.ts'

/** Where the token of a request comes from. */
export interface VaultToken {
  current(): Promise<string>
  /** Vault has refused `token`; answers whether there may be another. */
  refused(token: string): boolean
  close(): void
}

const retryMs = 5_000
/** However short-lived an answer calls a token: no reason to ask without a pause. */
const shortestMs = 250
/** Timers of Node hold 31 bits. */
const longestTimerMs = 2_147_483_647

export function openVaultToken(connection: VaultConnection, config: VaultAccess): VaultToken {
  if (config.kubernetes !== undefined) return new KubernetesLogin(connection, config.kubernetes)
  if (config.tokenFile !== undefined) return tokenFromFile(config.tokenFile)
  return new RenewedToken(connection, config.token ?? '')
}

/** A token that somebody else keeps fresh. */
function tokenFromFile(path: string): VaultToken {
  return {
    current: async () => (await textOf(path, 'the token file')).trim(),
    refused: () => false,
    close: () => {},
  }
}

/** A token from the configuration, renewed when half of its time has gone by, as long as Vault allows. */
class RenewedToken implements VaultToken {
  readonly #connection: VaultConnection
  readonly #token: string
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(connection: VaultConnection, token: string) {
    this.#connection = connection
    this.#token = token
    void this.#look()
  }

  async current(): Promise<string> {
    return this.#token
  }

  refused(): boolean {
    return false
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** How long the token lives; one without an end, or that cannot be renewed, is left alone. */
  async #look(): Promise<void> {
    await this.#try('GET', 'auth/token/lookup-self', ({ body }) => {
      const { data } = body
      if (!isObject(data)) return undefined
      return data.renewable === true && typeof data.ttl === 'number' ? data.ttl : 0
    })
  }

  async #renew(): Promise<void> {
    await this.#try('POST', 'auth/token/renew-self', ({ body: { auth } }) => {
      if (!isObject(auth) || typeof auth.lease_duration !== 'number') return undefined
      return auth.renewable === true ? auth.lease_duration : 0
    })
  }

  /** @param lifetime of the answer: seconds, 0 for "no need", undefined for garbage */
  async #try(method: 'GET' | 'POST', path: string, lifetime: (answer: VaultAnswer) => number | undefined) {
    const again = () => (method === 'GET' ? this.#look() : this.#renew())
    try {
      const answer = await this.#connection.call({ method, path, token: this.#token })
      const seconds = answer.status === 200 ? lifetime(answer) : answer.status === 403 ? 0 : undefined
      if (seconds === 0) return
      if (seconds === undefined) this.#after(retryMs, again)
      else this.#after(Math.max(seconds * 500, shortestMs), () => this.#renew())
    } catch {
      // reads tell the operator that Vault is down; here it is enough to try again
      this.#after(retryMs, again)
    }
  }

  #after(ms: number, work: () => Promise<void>): void {
    if (this.#closed) return
    this.#timer = setTimeout(() => void work(), Math.min(ms, longestTimerMs))
    this.#timer.unref()
  }
}

/** Logs in with the token of the pod's service account; again when two thirds of the lease are over. */
class KubernetesLogin implements VaultToken {
  readonly #connection: VaultConnection
  readonly #account: NonNullable<VaultAccess['kubernetes']>
  #token: string | undefined
  #until = 0
  #login: Promise<string> | undefined

  constructor(connection: VaultConnection, account: NonNullable<VaultAccess['kubernetes']>) {
    this.#connection = connection
    this.#account = account
  }

  async current(): Promise<string> {
    if (this.#token !== undefined && performance.now() < this.#until) return this.#token
    this.#login ??= this.#logIn().finally(() => {
      this.#login = undefined
    })
    return this.#login
  }

  refused(token: string): boolean {
    if (this.#token === token) this.#token = undefined
    return true
  }

  close(): void {
    this.#token = undefined
  }

  async #logIn(): Promise<string> {
    const { role, authPath, jwtFile } = this.#account
    const jwt = (await textOf(jwtFile, 'the token of the service account')).trim()
    const startedAt = performance.now()
    const { status, body } = await this.#connection.call({
      method: 'POST',
      path: `auth/${authPath}/login`,
      body: { role, jwt },
    })
    if (status !== 200)
      throw new StorageUnavailable(`Vault refuses the login of the service account: ${status}`)
    const { auth } = body
    if (!isObject(auth) || typeof auth.client_token !== 'string' || typeof auth.lease_duration !== 'number') {
      throw new StorageUnavailable('the answer of Vault to a login has no token')
    }
    this.#token = auth.client_token
    // a lease of 0 has no end
    this.#until =
      auth.lease_duration === 0 ? Number.POSITIVE_INFINITY : startedAt + (auth.lease_duration * 2_000) / 3
    return this.#token
  }
}

async function textOf(path: string, what: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new StorageUnavailable(`${what} cannot be read: ${error.code}`)
  })
}
