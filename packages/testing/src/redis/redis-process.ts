import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTcp, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'

const START_TIMEOUT_MS = 10_000

/**
 * Whether real Redis servers can be started here. Where they cannot, says so loudly, and refuses to go on in CI: tests
 * against Redis are not to be lost without anyone noticing.
 */
export function redisAvailable(): boolean {
  const missing = ['redis-server', 'redis-cli'].filter(
    (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status !== 0,
  )
  if (missing.length === 0) return true
  const message = `${missing.join(' and ')} not found: tests against Redis CANNOT RUN. apt-get install redis-server`
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}

/**
 * A TCP port of 127.0.0.1 that is free now, and with it the one 10000 above, which a Cluster node takes for its bus.
 * Both are below the ports that the kernel gives to outgoing connections.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 12_000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
}

function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** What runs now, so that a test that ends by an exception leaves no server behind. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** One server process: `stop` ends it in good order, `kill` as a crash would, `pause` makes it silent. */
export class RedisProcess {
  readonly #program: string
  readonly #configFile: string
  readonly #ready: () => Promise<boolean>
  #child: ChildProcess | undefined

  constructor(program: string, configFile: string, ready: () => Promise<boolean>) {
    this.#program = program
    this.#configFile = configFile
    this.#ready = ready
  }

  async start(): Promise<void> {
    const child = spawn(this.#program, [this.#configFile], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-4_000)
      })
    }
    this.#child = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await this.#ready())) {
      if (child.exitCode !== null || performance.now() > deadline) {
        await this.kill()
        throw new Error(`${this.#program} did not start:\n${output}`)
      }
      await delay(20)
    }
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGCONT')
    child.kill(signal)
    await exited
  }
}

/**
 * Whether a server answers PING. "NOAUTH" is an answer: it listens. "LOADING" is not.
 *
 * @param ca certificate to trust, for a server that speaks TLS
 */
export async function answersPing(port: number, ca?: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket =
    ca === undefined
      ? connectTcp(port, '127.0.0.1')
      : connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost' })
  socket.setTimeout(1_000, () => resolve(false))
  socket.once('error', () => resolve(false))
  socket.once('close', () => resolve(false))
  socket.once('data', (data) => resolve(/^(\+PONG|-NOAUTH|-NOPERM)/.test(data.toString())))
  socket.write('PING\r\n')
  try {
    return await promise
  } finally {
    socket.destroy()
  }
}
