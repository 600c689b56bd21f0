import { readFile } from 'node:fs/promises'
import { JsonDecimal, type JsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'
import { Agent, request } from 'undici'
import { StorageBusy, StorageUnavailable } from '../../key-value-store.ts'
import { StorageConfigError } from '../../storage-config-error.ts'
import { retryAfterMs } from '../retry-after.ts'
import type { VaultAccess } from './vault-config.ts'

/** Vault takes requests of 32 MiB at most; a secret of numbers is up to four characters a byte. */
const largestAnswer = 33_554_432

export interface VaultAnswer {
  readonly status: number
  /** Empty where the answer has no body. */
  readonly body: JsonObject
}

export interface VaultCall {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Below `/v1/`. */
  readonly path: string
  readonly token?: string
  readonly body?: unknown
  /** For what only the root namespace has. */
  readonly outsideNamespace?: boolean
}

/** Speaks to one Vault or OpenBao server. Its certificate is always verified; redirects, which would take the token along, are not followed. */
export class VaultConnection {
  readonly #agent: Agent
  readonly #config: VaultAccess

  private constructor(config: VaultAccess, ca: readonly string[]) {
    this.#config = config
    this.#agent = new Agent({
      connect: { timeout: config.timeoutMs, ...(ca.length > 0 ? { ca: [...ca] } : {}) },
      connections: 64,
    })
  }

  /** @throws StorageConfigError when a CA file cannot be read */
  static async open(config: VaultAccess): Promise<VaultConnection> {
    const read = (path: string) =>
      readFile(path, 'utf8').catch((cause) => {
        throw new StorageConfigError('a file of ca_certs cannot be read', { cause })
      })
    return new VaultConnection(config, await Promise.all(config.caCerts.map(read)))
  }

  /** @throws StorageUnavailable for whatever is no answer in JSON of a status below 500, 429 and redirects apart */
  async call({ method, path, token, body, outsideNamespace = false }: VaultCall): Promise<VaultAnswer> {
    const { namespace, vaultUrl, timeoutMs } = this.#config
    try {
      const answer = await request(new URL(`/v1/${path}`, vaultUrl), {
        method,
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          'x-vault-request': 'true',
          ...(token === undefined ? {} : { 'x-vault-token': token }),
          ...(namespace === undefined || outsideNamespace ? {} : { 'x-vault-namespace': namespace }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await bodyOf(answer.body)
      const status = answer.statusCode
      if (status >= 500 || status === 429 || (status >= 300 && status < 400)) {
        const problem = `Vault answered with status ${status}`
        const waitMs = retryAfterMs(answer.headers['retry-after'])
        throw waitMs === undefined ? new StorageUnavailable(problem) : new StorageBusy(problem, waitMs)
      }
      return { status, body: text.length === 0 ? {} : objectOf(text) }
    } catch (cause) {
      if (cause instanceof StorageUnavailable) throw cause
      // names and codes only: messages may quote what was sent
      const { code, name } = cause as { code?: unknown; name: string }
      if (name === 'TimeoutError')
        throw new StorageUnavailable(`Vault has not answered within ${timeoutMs} ms`)
      throw new StorageUnavailable(`Vault cannot be reached: ${typeof code === 'string' ? code : name}`)
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }
}

async function bodyOf(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.byteLength
    if (size > largestAnswer) throw new StorageUnavailable('the answer of Vault is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function objectOf(text: Uint8Array): JsonObject {
  try {
    const value = parseJson(text, { maxBytes: largestAnswer })
    if (isObject(value)) return value
  } catch {
    // the text may hold a secret: nothing of it goes into the error
  }
  throw new StorageUnavailable('the answer of Vault is no JSON object')
}

/** Objects of `parseJson`, whose other values of type object are lists and decimals. */
export function isObject(value: JsonValue | undefined): value is JsonObject {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonDecimal)
  )
}
