import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answersPing, freePort, RedisProcess } from './redis-process.ts'

export interface RedisOptions {
  /** Refuses clients that do not give this password (of the user `default`). */
  readonly password?: string
  /** The only user allowed, with what it may do in Redis's ACL language (`~*` every key, `+@all` every command). */
  readonly user?: { readonly name: string; readonly password: string; readonly rules: string }
  /** PEM texts; the port then speaks TLS only. */
  readonly tls?: { readonly certificate: string; readonly privateKey: string; readonly ca: string }
  /** Further lines of `redis.conf`. */
  readonly directives?: readonly string[]
  /** Where the folder with its data is made. Default: where temporary files are. */
  readonly parentFolder?: string
}

/** A real Redis server on 127.0.0.1, its data in a folder of its own. `restart` keeps port and data. */
export interface RedisServer {
  /** With user and password where there are any. */
  readonly url: string
  readonly port: number
  stop(): Promise<void>
  kill(): Promise<void>
  restart(): Promise<void>
  /** The process stops answering but keeps its connections, until `resume`. */
  pause(): void
  resume(): void
}

/**
 * Starts `redis-server` and returns once it answers. Every acknowledged write is on its disk (`appendfsync always`), so
 * data survive `kill` and `restart`. `stop` removes them.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  // Somebody else may take a free port before Redis does.
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnFreePort(options)
    } catch (error) {
      if (attempt === 5 || !String(error).includes('Address already in use')) throw error
    }
  }
}

async function startOnFreePort(options: RedisOptions): Promise<RedisServer> {
  const port = await freePort()
  const folder = await mkdtemp(join(options.parentFolder ?? tmpdir(), 'kbs-redis-'))
  const file = async (name: string, text: string) => {
    const path = join(folder, name)
    await writeFile(path, text, { mode: 0o600 })
    return path
  }
  const lines = [
    'bind 127.0.0.1',
    `dir ${folder}`,
    'save ""',
    'appendonly yes',
    'appendfsync always',
    ...(options.directives ?? []),
  ]
  if (options.tls) {
    lines.push('port 0', `tls-port ${port}`, 'tls-auth-clients no')
    lines.push(`tls-cert-file ${await file('server.pem', options.tls.certificate)}`)
    lines.push(`tls-key-file ${await file('server.key', options.tls.privateKey)}`)
    lines.push(`tls-ca-cert-file ${await file('ca.pem', options.tls.ca)}`)
  } else {
    lines.push(`port ${port}`)
  }
  if (options.password !== undefined) lines.push(`requirepass ${options.password}`)
  if (options.user) {
    lines.push(
      // without rights a reload of the append-only file after a crash would drop what scripts wrote
      'user default off ~* +@all',
      `user ${options.user.name} on >${options.user.password} ${options.user.rules}`,
    )
  }
  const server = new RedisProcess('redis-server', await file('redis.conf', `${lines.join('\n')}\n`), () =>
    answersPing(port, options.tls?.ca),
  )
  await server.start()
  return {
    url: urlOf(port, options),
    port,
    async stop() {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
    kill: () => server.kill(),
    async restart() {
      await server.stop()
      await server.start()
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
  }
}

function urlOf(port: number, options: RedisOptions): string {
  const user = options.user?.name ?? ''
  const password = options.user?.password ?? options.password
  const credentials = password === undefined ? '' : `${user}:${encodeURIComponent(password)}@`
  return `${options.tls ? 'rediss' : 'redis'}://${credentials}${options.tls ? 'localhost' : '127.0.0.1'}:${port}`
}
