import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { StorageUnavailable } from '../key-value-store.ts'
import { databaseOf, type RedisConfig } from '../storage-config.ts'
import { StorageConfigError } from '../storage-config-error.ts'

export type RedisClient = Redis | Cluster

/** What holds for the connection to one server, be it the only one, a Sentinel's master or a node of a Cluster. */
type ServerOptions = Omit<RedisOptions, 'replyMapping'>

/**
 * One connection (one per node in a Cluster) that reconnects by itself. A command is answered within
 * `command_timeout_ms` or fails: nothing waits in a queue for Redis to come back, and nothing is sent twice, since the
 * second sending of a claim or a compare-and-set would misreport the first. Passwords and CA are read from their files for
 * every new connection, so that they can be replaced while the process runs.
 */
export class RedisConnection {
  readonly keyPrefix: string
  readonly #client: RedisClient
  readonly #timeoutMs: number
  /** Why the connection is not there, as last heard: "connect ECONNREFUSED", "WRONGPASS …". */
  #lastError: Error | undefined
  #closed = false

  private constructor(client: RedisClient, config: RedisConfig) {
    this.#client = client
    this.#timeoutMs = config.command_timeout_ms
    this.keyPrefix = config.key_prefix
    // Without these listeners a lost connection would be an uncaught exception.
    client.on('error', (error: Error) => {
      this.#lastError = error
    })
    client.on('node error', (error: Error) => {
      this.#lastError = error
      // Connections that are open are asked for the slots by copies of themselves, which log in anew.
      if (client instanceof Cluster) for (const node of client.nodes()) renewPasswords(node.options, config)
    })
    client.on('ready', () => {
      this.#lastError = undefined
    })
    // ioredis connects to a node at the first command for it, and fails others that come before it is connected.
    client.on('+node', (node: Redis) => {
      renewPasswords(node.options, config)
      node.ping().catch(() => {})
    })
  }

  /** Connects, and returns after `command_timeout_ms` at the latest, connected or not. */
  static async open(config: RedisConfig): Promise<RedisConnection> {
    const connection = new RedisConnection(createClient(config), config)
    const client = connection.#client
    const connecting = client.connect().then(() => pingMasters(client))
    await connection.#withinTimeout(connecting).catch((error: Error) => {
      connection.#lastError ??= error
    })
    return connection
  }

  get isCluster(): boolean {
    return this.#client instanceof Cluster
  }

  /**
   * Runs one command.
   *
   * @throws StorageUnavailable for everything that goes wrong
   */
  async run<T>(command: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.#answering(() => this.#withinTimeout(command(this.#client)))
  }

  /** Resolves when the server answers, or every master of the Cluster. @throws StorageUnavailable */
  async ping(): Promise<void> {
    return this.#answering(() => this.#withinTimeout(pingMasters(this.#client)))
  }

  /** Runs commands on the one server, or on each master of the Cluster. The time limit holds for each of the commands. */
  async runOnMasters<T>(commands: (master: Redis) => Promise<T>): Promise<readonly T[]> {
    return this.#answering(async () => Promise.all((await allMasters(this.#client)).map(commands)))
  }

  async #answering<T>(operation: () => Promise<T>): Promise<T> {
    try {
      return await operation()
    } catch (error) {
      const reason = this.#client.status === 'ready' ? undefined : this.#lastError
      throw new StorageUnavailable('Redis does not answer', { cause: withoutArguments(reason ?? error) })
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // Nobody to say goodbye to otherwise, and the command's timer would hold up the end of the process.
    if (this.#client.status === 'ready') await this.#withinTimeout(this.#client.quit()).catch(() => {})
    this.#client.disconnect()
  }

  async #withinTimeout<T>(answer: Promise<T>): Promise<T> {
    const { promise: expiry, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new Error('command timed out')), this.#timeoutMs)
    try {
      return await Promise.race([answer, expiry])
    } finally {
      clearTimeout(timer)
    }
  }
}

/** The one server, or all masters of the Cluster: an error where one is missing, for what it holds would be overlooked. */
async function allMasters(client: RedisClient): Promise<readonly Redis[]> {
  if (client instanceof Redis) return [client]
  const masters = client.nodes('master')
  if (masters.length === 0) throw new Error('no master of the Redis Cluster is known')
  // A master that died is no longer among those we know. Those that live know how many there are, and whether slots are
  // missing.
  for (const info of await Promise.all(masters.map((master) => master.cluster('INFO')))) {
    const size = Number(/cluster_size:(\d+)/.exec(info)?.[1])
    if (!info.includes('cluster_state:ok') || !(size <= masters.length)) {
      throw new Error('the Redis Cluster does not serve all slots')
    }
  }
  return masters
}

async function pingMasters(client: RedisClient): Promise<void> {
  await Promise.all((await allMasters(client)).map((master) => master.ping()))
}

function createClient(config: RedisConfig): RedisClient {
  const options = connectionOptions(config)
  if (config.cluster) {
    return new Cluster(config.cluster.nodes.map(hostAndPort), {
      lazyConnect: true,
      enableOfflineQueue: false,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      maxRedirections: 5,
      slotsRefreshTimeout: config.command_timeout_ms,
      slotsRefreshInterval: 2_000,
      // Nodes have no retry strategy of their own: only when all are given up does ioredis look for the Cluster anew.
      clusterRetryStrategy: reconnectDelay,
      // A certificate names hosts, not the addresses they resolve to.
      dnsLookup: (address, found) => found(null, address),
      redisOptions: options,
    })
  }
  const common = {
    ...options,
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: (attempt: number) => {
      renewPasswords(client.options, config)
      return reconnectDelay(attempt)
    },
    // A master that was demoted says READONLY until the connection asks anew who the master is.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  }
  const where: ServerOptions = config.sentinel
    ? sentinelOptions(config, config.sentinel, options)
    : hostAndPort(hostOf(config.url))
  const client: Redis = new Redis({ ...common, ...where })
  return client
}

function sentinelOptions(
  config: RedisConfig,
  sentinel: NonNullable<RedisConfig['sentinel']>,
  { tls }: ServerOptions,
): ServerOptions {
  const password = sentinelPassword(config)
  return {
    name: sentinel.master_name,
    sentinels: sentinel.nodes.map(hostAndPort),
    ...(sentinel.username !== undefined && { sentinelUsername: sentinel.username }),
    ...(password !== undefined && { sentinelPassword: password }),
    ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: tls }),
    sentinelRetryStrategy: reconnectDelay,
    sentinelCommandTimeout: config.command_timeout_ms,
  }
}

/** What the files say now; a file that cannot be read leaves the former password in use. */
function renewPasswords(options: ServerOptions, config: RedisConfig): void {
  try {
    const password = passwordOf(config)
    if (password !== undefined) options.password = password
    const forSentinels = sentinelPassword(config)
    if (forSentinels !== undefined) options.sentinelPassword = forSentinels
  } catch {
    // it was readable at the start, and will be again
  }
}

function passwordOf(config: RedisConfig): string | undefined {
  return secretFrom(config.password_file, 'redis.password_file')
}

function sentinelPassword({ sentinel }: RedisConfig): string | undefined {
  return sentinel?.password ?? secretFrom(sentinel?.password_file, 'redis.sentinel.password_file')
}

function connectionOptions(config: RedisConfig): ServerOptions {
  const url = new URL(config.url)
  const username = config.username ?? decodeURIComponent(url.username)
  const password = passwordOf(config) ?? decodeURIComponent(url.password)
  const tls = url.protocol === 'rediss:' ? tlsOptions(config) : undefined
  return {
    protocol: 2,
    db: databaseOf(config.url),
    ...(username !== '' && { username }),
    ...(password !== '' && { password }),
    ...(tls && { tls }),
    connectTimeout: config.command_timeout_ms,
    commandTimeout: config.command_timeout_ms,
    // A server that accepts and then is silent (a cut network, a stopped process): drop it and connect anew.
    socketTimeout: config.command_timeout_ms,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    disableClientInfo: true,
    // How long a socket may take to close; where it is closed already, ioredis waits all the same.
    disconnectTimeout: 200,
  }
}

/** The CA is read whenever somebody takes these options to connect with them. */
function tlsOptions({ tls_ca: file }: RedisConfig): ConnectionOptions {
  const minVersion = 'TLSv1.2'
  let ca = textOf(file, 'redis.tls_ca')
  if (ca === undefined) return { minVersion }
  return {
    minVersion,
    get ca() {
      try {
        ca = textOf(file, 'redis.tls_ca') ?? ca
      } catch {
        // the former stays in use
      }
      return ca
    },
  }
}

function secretFrom(path: string | undefined, key: string): string | undefined {
  return textOf(path, key)?.replace(/\r?\n$/, '')
}

function textOf(path: string | undefined, key: string): string | undefined {
  if (path === undefined) return undefined
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new StorageConfigError(`storage_backend.backends.${key} cannot be read`, { cause })
  }
  // to whoever connects, no text would mean no password, and the system's CAs
  if (text.trim() === '') throw new StorageConfigError(`storage_backend.backends.${key} is empty`)
  return text
}

function hostOf(text: string): string {
  const url = new URL(text)
  return `${url.hostname}:${url.port || 6379}`
}

function hostAndPort(node: string): { host: string; port: number } {
  const colon = node.lastIndexOf(':')
  return { host: node.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(node.slice(colon + 1)) }
}

function reconnectDelay(attempt: number): number {
  return Math.min(50 * attempt, 1_000)
}

/** ioredis hangs the command with its arguments, so secrets and tokens, on its errors; Redis repeats them in some texts. */
function withoutArguments(error: unknown): Error {
  const text = error instanceof Error ? error.message : 'unknown error'
  return new Error(text.replace(/, with args beginning with:.*$/s, '').slice(0, 200))
}
