import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../redis/redis-process.ts'
import { postgresProgram, serverUser } from './postgres-programs.ts'

const run = promisify(execFile)
const START_TIMEOUT_MS = 30_000

export interface PostgresOptions {
  /** PEM texts; the server then takes connections over TLS only. The certificate must name `localhost`. */
  readonly tls?: { readonly certificate: string; readonly privateKey: string }
  /** Further lines of `postgresql.conf`. */
  readonly settings?: readonly string[]
}

/** A real PostgreSQL server on 127.0.0.1, its cluster in a folder of its own. `restart` keeps port and data. */
export interface PostgresServer {
  readonly host: 'localhost' | '127.0.0.1'
  readonly port: number
  /** A superuser, and its password (SCRAM-SHA-256). */
  readonly username: 'postgres'
  readonly password: string
  /** Runs SQL as superuser over the Unix socket; what `psql` prints without headings, columns separated by `|`. */
  sql(text: string, database?: string): Promise<string>
  /** A new, empty database, and its name. */
  createDatabase(): Promise<string>
  /** Shows another certificate to whoever connects from now on; for servers that began with one. */
  useCertificate(tls: NonNullable<PostgresOptions['tls']>): Promise<void>
  stop(): Promise<void>
  /** Ends the server as a crash would: connections are cut, nothing is tidied up. */
  kill(): Promise<void>
  restart(): Promise<void>
}

/** What runs now, so that a test that ends by an exception leaves no server behind. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGQUIT')
})

/** Makes a cluster, starts `postgres` in it, and returns once it answers. `stop` removes all of it. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  // Somebody else may take a free port before the server does.
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnFreePort(options)
    } catch (error) {
      if (attempt === 3 || !String(error).includes('Address already in use')) throw error
    }
  }
}

async function startOnFreePort(options: PostgresOptions): Promise<PostgresServer> {
  const port = await freePort()
  const password = 'p@ss/word: %'
  const folder = await makeCluster(port, password, options)
  const remove = () => rm(folder, { recursive: true, force: true })
  const server = new ServerProcess(folder)
  const sql = (text: string, database = 'postgres') =>
    runSql(['-h', folder, '-p', String(port), '-U', 'postgres', '-d', database], text)
  const start = async () => {
    await server.start()
    await server.untilReady(() => sql('SELECT 1').then(() => true))
  }
  try {
    await start()
  } catch (error) {
    await remove()
    throw error
  }
  let databases = 0
  return {
    host: options.tls ? 'localhost' : '127.0.0.1',
    port,
    username: 'postgres',
    password,
    sql,
    async createDatabase() {
      const name = `test${++databases}`
      await sql(`CREATE DATABASE ${name}`)
      return name
    },
    async useCertificate({ certificate, privateKey }) {
      await writeTlsFiles(folder, { certificate, privateKey })
      await sql('SELECT pg_reload_conf()')
      // the postmaster reads the files when the signal has reached it
      await delay(200)
    },
    async stop() {
      await server.end('SIGINT')
      await remove()
    },
    kill: () => server.end('SIGQUIT'),
    async restart() {
      await server.end('SIGINT')
      await start()
    },
  }
}

/** `initdb` and configuration: passwords over TCP, none over the socket, which lies in the cluster's own folder. */
async function makeCluster(port: number, password: string, { tls, settings = [] }: PostgresOptions) {
  const user = serverUser()
  // another user must be able to get there, and `TMPDIR` may be ours alone
  const folder = await mkdtemp(join(user ? '/tmp' : tmpdir(), 'kbs-pg-'))
  const file = async (name: string, text: string) => {
    const path = join(folder, name)
    await writeFile(path, text, { mode: 0o600 })
    if (user) await chown(path, user.uid, user.gid)
    return path
  }
  if (user) await chown(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const passwordFile = await file('password', `${password}\n`)
  const init = ['-D', data, '-U', 'postgres', '--no-sync', '--encoding=UTF8', '--locale=C']
  const auth = ['--auth-local=trust', '--auth-host=scram-sha-256', `--pwfile=${passwordFile}`]
  await run(postgresProgram('initdb'), [...init, ...auth], { ...user, cwd: folder })
  const lines = [
    `listen_addresses = '127.0.0.1'`,
    `port = ${port}`,
    `unix_socket_directories = '${folder}'`,
    // the tests end processes, not the machine
    'fsync = off',
    ...settings,
  ]
  if (tls) {
    lines.push('ssl = on')
    const { certificate, privateKey } = await writeTlsFiles(folder, tls)
    lines.push(`ssl_cert_file = '${certificate}'`, `ssl_key_file = '${privateKey}'`)
    await writeFile(
      join(data, 'pg_hba.conf'),
      'local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n',
    )
  }
  await writeFile(join(data, 'postgresql.conf'), `${lines.join('\n')}\n`)
  return folder
}

/** Writes them for the server's user, and answers their paths. */
async function writeTlsFiles(folder: string, tls: NonNullable<PostgresOptions['tls']>) {
  const user = serverUser()
  const paths = { certificate: join(folder, 'server.pem'), privateKey: join(folder, 'server.key') }
  for (const part of ['certificate', 'privateKey'] as const) {
    await writeFile(paths[part], tls[part], { mode: 0o600 })
    if (user) await chown(paths[part], user.uid, user.gid)
  }
  return paths
}

/** The server process: SIGINT ends it in good order without waiting for its clients, SIGQUIT as a crash would. */
class ServerProcess {
  readonly #folder: string
  #child: ChildProcess | undefined
  #output = ''

  constructor(folder: string) {
    this.#folder = folder
  }

  async start(): Promise<void> {
    const child = spawn(postgresProgram('postgres'), ['-D', join(this.#folder, 'data')], {
      ...serverUser(),
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-4_000)
      })
    }
    this.#child = child
    running.add(child)
    child.once('exit', () => running.delete(child))
  }

  async untilReady(ready: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await ready().catch(() => false))) {
      if (this.#child?.exitCode !== null || performance.now() > deadline) {
        await this.end('SIGQUIT')
        throw new Error(`postgres did not start:\n${this.#output}`)
      }
      await delay(50)
    }
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
}

async function runSql(connection: readonly string[], text: string): Promise<string> {
  const quiet = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1']
  const { stdout } = await run(postgresProgram('psql'), [...connection, ...quiet, '-c', text], {
    timeout: 20_000,
  })
  return stdout.trim()
}
