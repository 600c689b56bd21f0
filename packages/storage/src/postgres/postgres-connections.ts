import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import pg from 'pg'
import { StorageUnavailable } from '../key-value-store.ts'
import { StorageConfigError } from '../storage-config-error.ts'
import { type PostgresConfig, speaksTls } from './postgres-config.ts'

/** One statement; `values` stand for `$1`, `$2`, … */
export interface Statement {
  readonly text: string
  readonly values?: readonly unknown[]
  /** Instead of `command_timeout_ms`. */
  readonly timeoutMs?: number
}

export type Row = Readonly<Record<string, unknown>>

export interface Answer {
  readonly rows: readonly Row[]
  /** Rows that were read, made, changed or deleted. */
  readonly count: number
}

/** Runs statements on one connection, in order. */
export type Run = (statement: Statement) => Promise<Answer>

/** The server says what it has to say first; this much later we stop listening. */
const GRACE_MS = 250
const IDLE_MS = 30_000

/**
 * A bounded pool of connections. Nothing waits for PostgreSQL to come back: a statement is answered within
 * `command_timeout_ms` or fails, nothing is sent twice, and a connection on which anything failed is closed, so that
 * the next statement meets the server as it is then: restarted, or another after a failover.
 */
export class PostgresConnections {
  readonly #pool: pg.Pool
  readonly #sockets = new Set<Socket>()
  readonly #timeoutMs: number
  #closing: Promise<void> | undefined

  private constructor(config: PostgresConfig, tls: ConnectionOptions | undefined) {
    this.#timeoutMs = config.command_timeout_ms
    this.#pool = new pg.Pool({
      host: config.host,
      port: config.port,
      database: config.db ?? config.username,
      user: config.username,
      // A function, even where there is none: otherwise pg looks into PGPASSWORD and ~/.pgpass.
      password: () => passwordOf(config),
      ssl: tls ?? false,
      application_name: 'passport-kbs',
      // Compare-and-set is one statement that counts on PostgreSQL's own default. Also keeps PGOPTIONS out.
      options: '-c default_transaction_isolation=read\\ committed',
      max: config.pool_size,
      idleTimeoutMillis: IDLE_MS,
      connectionTimeoutMillis: config.command_timeout_ms,
      statement_timeout: config.command_timeout_ms,
      lock_timeout: config.command_timeout_ms,
      idle_in_transaction_session_timeout: config.command_timeout_ms,
      query_timeout: config.command_timeout_ms + GRACE_MS,
      keepAlive: true,
      stream: () => this.#newSocket(),
    })
    // Without this listener the end of an idle connection would be an uncaught exception.
    this.#pool.on('error', () => {})
  }

  /** @throws StorageConfigError when a file named in the configuration cannot be read */
  static async open(config: PostgresConfig): Promise<PostgresConnections> {
    await passwordOf(config)
    return new PostgresConnections(config, await tlsOptions(config))
  }

  /** Runs one statement, a transaction of its own. @throws StorageUnavailable for everything that goes wrong */
  async run(statement: Statement): Promise<Answer> {
    return this.#withConnection((run) => run(statement))
  }

  /** Runs statements in one transaction, which is rolled back if `work` throws. @throws StorageUnavailable */
  async transaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#withConnection(async (run) => {
      await run({ text: 'BEGIN' })
      const result = await work(run)
      await run({ text: 'COMMIT' })
      return result
    })
  }

  /** Returns within the time limit, even when the server is silent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { promise: expiry, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, this.#timeoutMs)
    await Promise.race([this.#pool.end().catch(() => {}), expiry])
    clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
  }

  /** A failure closes the connection, and with it ends a transaction that was under way. */
  async #withConnection<T>(work: (run: Run) => Promise<T>): Promise<T> {
    let client: pg.PoolClient | undefined
    const ignore = () => {}
    try {
      client = await this.#pool.connect()
      // A connection may also end between two statements of a transaction.
      client.on('error', ignore)
      const result = await work(runOn(client))
      client.off('error', ignore)
      client.release()
      return result
    } catch (error) {
      client?.release(true)
      throw unavailable(error)
    }
  }

  #newSocket(): Socket {
    const socket = new Socket()
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    return socket
  }
}

function runOn(client: pg.PoolClient): Run {
  return async ({ text, values = [], timeoutMs }) => {
    const query = {
      text,
      values: [...values],
      ...(timeoutMs === undefined ? {} : { query_timeout: timeoutMs + GRACE_MS }),
    }
    const { rows, rowCount } = await client.query<Record<string, unknown>>(query)
    return { rows, count: rowCount ?? 0 }
  }
}

/** The cause says what PostgreSQL or the system said, and nothing of the values that were sent. */
function unavailable(error: unknown): StorageUnavailable {
  if (error instanceof StorageUnavailable) return error
  const { message = '', code } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  const text = message.slice(0, 200)
  const reason = code === undefined || text.includes(code) ? text : `${text} (${code})`
  return new StorageUnavailable('PostgreSQL does not answer', { cause: new Error(reason || 'unknown error') })
}

async function tlsOptions(config: PostgresConfig): Promise<ConnectionOptions | undefined> {
  if (!speaksTls(config)) return undefined
  const common: ConnectionOptions = {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    // Whom the certificate must name. pg says so itself for names only; for addresses Node would take "localhost".
    host: config.host,
  }
  const file = config.tls_ca
  if (file === undefined) return common
  let ca = await textOf(file, 'tls_ca')
  return {
    ...common,
    // read whenever pg takes these options to connect with them, so that it can be replaced
    get ca() {
      try {
        // one that is being written may be empty, which would mean the system's CAs
        ca = readFileSync(file, 'utf8').trim() || ca
      } catch {
        // the former stays in use
      }
      return ca
    },
  }
}

async function passwordOf(config: PostgresConfig): Promise<string> {
  if (config.password_file === undefined) return config.password ?? ''
  return (await textOf(config.password_file, 'password_file')).replace(/\r?\n$/, '')
}

async function textOf(path: string, key: string): Promise<string> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new StorageConfigError(`storage_backend.backends.postgres.${key} cannot be read`, { cause })
  }
  if (text.trim() === '') throw new StorageConfigError(`storage_backend.backends.postgres.${key} is empty`)
  return text
}
