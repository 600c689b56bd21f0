import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '@passport-kbs/testing/redis'
import { type ComposeModel, readComposeFile } from './containers/compose-file.ts'
import { callKbsctl } from './kbsctl.ts'
import { type Ended, type Program, type ProgramName, startProgram } from './program.ts'

const folder = resolve(import.meta.dirname, '../../docker')
const startTimeoutMs = 20_000

/**
 * The services of a compose file as plain processes on loopback, for tests of what operators do with them: configurations,
 * secrets and data are those of the file, at other paths and ports. What an engine adds is tested with `containers/`.
 */
export class ComposeProcesses {
  readonly #name: string
  readonly #program: ProgramName
  readonly #place: string
  readonly #model: ComposeModel
  #redisPort = 0
  #redis: ChildProcess | undefined
  #started: Program | undefined

  /** @param place a folder that stands in for the checkout: secrets are made in `docker/secrets` below it. */
  constructor(name: string, program: ProgramName, place: string, env: Readonly<Record<string, string>> = {}) {
    this.#name = name
    this.#program = program
    this.#place = place
    this.#model = readComposeFile(join(folder, `compose.${name}.yaml`), env)
    for (const part of ['docker/secrets', 'docker/data', 'config'])
      mkdirSync(join(place, part), { recursive: true })
  }

  get program(): Program {
    if (this.#started === undefined) throw new Error('not started')
    return this.#started
  }

  get redisPort(): number {
    return this.#redisPort
  }

  /** `docker compose run --rm init`, with these arguments instead of the file's where there are any. */
  async init(...args: readonly string[]): Promise<Ended> {
    const init = this.#model.services.get('init')
    const [, , ...fixed] = init?.entrypoint ?? []
    const all = [...fixed, ...(args.length > 0 ? args : (init?.command ?? []))]
    return await callKbsctl(
      all.map((arg) => this.#here(arg)),
      this.#place,
    )
  }

  /** `docker compose run --rm rewrap`. */
  async rewrap(): Promise<Ended> {
    const command = this.#model.services.get('rewrap')?.command ?? []
    const file = this.#config(`config/${this.#name}.toml`)
    return await callKbsctl(
      command.map((arg) => (arg === '/etc/passport-kbs/config.toml' ? file : arg)),
      this.#place,
    )
  }

  /** `docker compose up --wait`. Samples count as evidence, for there is no TEE here. */
  async up(): Promise<void> {
    await this.startRedis()
    await this.startProgram()
  }

  async down(): Promise<void> {
    await this.stopProgram()
    await this.stopRedis('SIGTERM')
  }

  async startProgram(): Promise<void> {
    this.#started = await startProgram(this.#program, {
      configFile: this.#config(`config/${this.#name}.toml`),
      env: { KBS_PROFILE: 'development' },
    })
  }

  async stopProgram(): Promise<void> {
    await this.#started?.stop()
    this.#started = undefined
  }

  async restartProgram(): Promise<void> {
    await this.stopProgram()
    await this.startProgram()
  }

  /** Returns once the file's health check is content. */
  async startRedis(): Promise<void> {
    if (this.#redisPort === 0) this.#redisPort = await freePort()
    const redis = this.#model.services.get('redis')
    const [program = ''] = redis?.entrypoint ?? []
    const child = spawn(program, [this.#config('config/redis.conf')], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    process.once('exit', () => child.kill('SIGKILL'))
    this.#redis = child
    const deadline = performance.now() + startTimeoutMs
    while (!this.isRedisHealthy()) {
      if (child.exitCode !== null || performance.now() > deadline) {
        child.kill('SIGKILL')
        throw new Error(`Redis did not start:\n${output}`)
      }
      await delay(50)
    }
  }

  async stopRedis(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#redis
    this.#redis = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }

  /** The health check of the file. */
  isRedisHealthy(): boolean {
    const [shell = '', ...args] = this.#model.services.get('redis')?.healthcheck?.test ?? []
    const here = args.map((arg) => this.#here(arg).replace('redis-cli ', `redis-cli -p ${this.#redisPort} `))
    try {
      execFileSync(shell, here, { stdio: 'ignore', timeout: 5_000 })
      return true
    } catch {
      return false
    }
  }

  /** A configuration of the compose file with the paths and ports of here. Answers its path. */
  #config(path: string): string {
    const text = this.#here(readFileSync(join(folder, path), 'utf8'))
      .replaceAll(/"0\.0\.0\.0:\d+"/g, '"127.0.0.1:0"')
      .replace('rediss://redis:6379', `rediss://localhost:${this.#redisPort}`)
      .replace(/^tls-port 6379$/m, `tls-port ${this.#redisPort}\nbind 127.0.0.1`)
    const target = join(this.#place, path.replace('config/', `config/${this.#name}-`))
    writeFileSync(target, text, { mode: 0o600 })
    return target
  }

  /** Where the test has what containers have under these paths. */
  #here(text: string): string {
    return text
      .replaceAll(/\/run\/secrets\/(\w+)/g, (path) => this.#secretFile(path))
      .replaceAll(/(^|=)\/(secrets|data)\//g, `$1${this.#place}/docker/$2/`)
      .replaceAll(/^dir \/data$/gm, `dir ${this.#place}/docker/data/${this.#name}`)
  }

  #secretFile(target: string): string {
    for (const { mounts } of this.#model.services.values()) {
      const found = mounts.find((mount) => mount.target === target)
      if (found !== undefined) return join(this.#place, 'docker', relative(folder, found.source))
    }
    throw new Error(`${target} is mounted nowhere`)
  }
}
