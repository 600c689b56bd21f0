import { readFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, resolve } from 'node:path'
import { parse } from 'yaml'

/** A compose file as an engine understands it: variables replaced, short forms spelled out, paths absolute. */
export interface ComposeModel {
  readonly name: string
  readonly services: ReadonlyMap<string, ComposeService>
  /** Whether each network has no way out. */
  readonly networks: ReadonlyMap<string, { readonly internal: boolean }>
}

export interface ComposeService {
  readonly name: string
  readonly image: string
  readonly build: Build | undefined
  /** Started only when named, where there are any. */
  readonly profiles: readonly string[]
  /** `uid:gid`; the image's where absent. */
  readonly user: string | undefined
  readonly entrypoint: readonly string[] | undefined
  readonly command: readonly string[] | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly workingDir: string | undefined
  readonly readOnly: boolean
  /** Paths of memory file systems. */
  readonly tmpfs: readonly string[]
  readonly capDrop: readonly string[]
  readonly capAdd: readonly string[]
  readonly noNewPrivileges: boolean
  /** Whether an init process is put before the program. */
  readonly init: boolean
  readonly restart: RestartPolicy
  readonly stopGraceMs: number
  readonly ports: readonly PublishedPort[]
  /** `none`: no network but loopback. */
  readonly networks: readonly string[] | 'none'
  readonly dependsOn: ReadonlyMap<string, DependencyCondition>
  readonly mounts: readonly Mount[]
  readonly healthcheck: Healthcheck | undefined
}

export interface Build {
  readonly context: string
  readonly dockerfile: string
  readonly target: string | undefined
  readonly args: Readonly<Record<string, string>>
}

export interface PublishedPort {
  readonly address: string
  readonly published: number
  readonly target: number
}

/** A file or folder of the host; secrets are files of the host below `/run/secrets`. */
export interface Mount {
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
  /** Whether the engine makes a folder where the source is missing. */
  readonly create: boolean
}

export interface Healthcheck {
  /** What is run; empty: none. */
  readonly test: readonly string[]
  readonly timeoutMs: number
  /** How long it may take until the first success, before retries count. */
  readonly patienceMs: number
}

export type RestartPolicy = 'no' | 'always' | 'unless-stopped' | 'on-failure'
export type DependencyCondition = 'service_started' | 'service_healthy' | 'service_completed_successfully'

type Yaml = Readonly<Record<string, unknown>>

/** Needs control groups or a log driver, which these tests do not have: read, and without effect. */
const withoutEffect = ['logging', 'mem_limit', 'memswap_limit', 'pids_limit', 'cpus', 'labels', 'pull_policy']

/**
 * Reads a compose file.
 * @param env variables of whoever calls the engine.
 * @param volumes further short-form volumes by service, as a second compose file adds them.
 * @throws on every key and form that is not known here, so that nothing of the file is silently left out.
 */
export function readComposeFile(
  path: string,
  env: Readonly<Record<string, string>>,
  volumes: Readonly<Record<string, readonly string[]>> = {},
): ComposeModel {
  const folder = dirname(resolve(path))
  const document = interpolate(parse(readFileSync(path, 'utf8'), { merge: true }), env) as Yaml
  const top = known(document, basename(path), ['name', 'services', 'networks', 'secrets'])
  const secrets = table(top.secrets)
  const services = Object.entries(table(top.services)).map(([name, service]) => {
    const extra = volumes[name] ?? []
    const body = { ...table(service), volumes: [...list(table(service).volumes), ...extra] }
    return [name, readService(name, body, { folder, secrets })] as const
  })
  return {
    name: String(top.name),
    services: new Map(services),
    networks: readNetworks(table(top.networks), services),
  }
}

function readNetworks(
  networks: Yaml,
  services: readonly (readonly [string, ComposeService])[],
): ComposeModel['networks'] {
  const all = new Map<string, { readonly internal: boolean }>()
  for (const [name, network] of Object.entries(networks)) {
    const { internal } = known(table(network), name, ['internal'])
    all.set(name, { internal: internal === true })
  }
  for (const [name, service] of services) {
    for (const network of service.networks === 'none' ? [] : service.networks) {
      if (network === 'default' && !all.has(network)) all.set(network, { internal: false })
      if (!all.has(network)) throw new Error(`service ${name}: no network ${network}`)
    }
  }
  return all
}

interface Surroundings {
  readonly folder: string
  readonly secrets: Yaml
}

function readService(name: string, body: Yaml, around: Surroundings): ComposeService {
  const service = known(body, `service ${name}`, [
    ...['image', 'build', 'profiles', 'user', 'entrypoint', 'command', 'environment', 'working_dir'],
    ...['read_only', 'tmpfs', 'cap_drop', 'cap_add', 'security_opt', 'init', 'restart', 'stop_grace_period'],
    ...['ports', 'networks', 'network_mode', 'depends_on', 'volumes', 'secrets', 'healthcheck'],
    ...withoutEffect,
  ])
  const security = strings(service.security_opt)
  if (security.some((option) => option !== 'no-new-privileges:true' && option !== 'no-new-privileges'))
    throw new Error(`service ${name}: security_opt ${security}`)
  if (service.network_mode !== undefined && service.network_mode !== 'none')
    throw new Error(`service ${name}: network_mode ${service.network_mode}`)
  return {
    name,
    image: String(service.image),
    build: readBuild(service.build, around.folder),
    profiles: strings(service.profiles),
    user: text(service.user),
    entrypoint: words(service.entrypoint),
    command: words(service.command),
    environment: readEnvironment(service.environment),
    workingDir: text(service.working_dir),
    readOnly: service.read_only === true,
    tmpfs: strings(service.tmpfs),
    capDrop: strings(service.cap_drop),
    capAdd: strings(service.cap_add),
    noNewPrivileges: security.length > 0,
    init: service.init === true,
    restart: readRestart(service.restart),
    stopGraceMs: milliseconds(service.stop_grace_period, 10_000),
    ports: strings(service.ports).map(readPort),
    networks: service.network_mode === 'none' ? 'none' : readNetworkNames(service.networks),
    dependsOn: readDependencies(service.depends_on),
    mounts: [
      ...list(service.volumes).map((volume) => readVolume(volume, around)),
      ...list(service.secrets).map((secret) => readSecret(secret, around)),
    ],
    healthcheck: service.healthcheck === undefined ? undefined : readHealthcheck(table(service.healthcheck)),
  }
}

function readBuild(value: unknown, folder: string): Build | undefined {
  if (value === undefined) return undefined
  const build = known(table(value), 'build', ['context', 'dockerfile', 'target', 'args'])
  const context = resolve(folder, String(build.context))
  return {
    context,
    dockerfile: resolve(context, String(build.dockerfile ?? 'Dockerfile')),
    target: text(build.target),
    args: readEnvironment(build.args),
  }
}

function readEnvironment(value: unknown): Readonly<Record<string, string>> {
  if (Array.isArray(value)) {
    return Object.fromEntries(strings(value).map((pair) => splitOnce(pair, '=')))
  }
  return Object.fromEntries(Object.entries(table(value)).map(([name, setting]) => [name, String(setting)]))
}

function readRestart(value: unknown): RestartPolicy {
  switch (value ?? 'no') {
    case 'no':
    case 'always':
    case 'unless-stopped':
    case 'on-failure':
      return (value ?? 'no') as RestartPolicy
  }
  throw new Error(`restart ${value}`)
}

function readPort(text: string): PublishedPort {
  const match = /^(?:([\d.]+):)?(\d+):(\d+)$/.exec(text)
  if (match === null) throw new Error(`port ${text}`)
  return { address: match[1] ?? '0.0.0.0', published: Number(match[2]), target: Number(match[3]) }
}

function readNetworkNames(value: unknown): readonly string[] {
  return value === undefined ? ['default'] : strings(value)
}

function readDependencies(value: unknown): ReadonlyMap<string, DependencyCondition> {
  if (Array.isArray(value)) return new Map(strings(value).map((name) => [name, 'service_started']))
  const entries = Object.entries(table(value)).map(([name, dependency]) => {
    const { condition } = known(table(dependency), `depends_on ${name}`, ['condition'])
    return [name, (condition ?? 'service_started') as DependencyCondition] as const
  })
  return new Map(entries)
}

function readVolume(value: unknown, { folder }: Surroundings): Mount {
  if (typeof value === 'string') {
    const [source = '', target = '', mode = 'rw'] = value.split(':')
    if (!['ro', 'rw'].includes(mode)) throw new Error(`volume ${value}`)
    return bindMount(folder, source, { target, readOnly: mode === 'ro', create: true })
  }
  const long = known(table(value), 'volume', ['type', 'source', 'target', 'read_only', 'bind'])
  if (long.type !== 'bind') throw new Error(`volume of type ${long.type}`)
  const { create_host_path } = known(table(long.bind), 'bind', ['create_host_path'])
  const target = String(long.target)
  const create = create_host_path !== false
  return bindMount(folder, String(long.source), { target, readOnly: long.read_only === true, create })
}

function bindMount(folder: string, source: string, mount: Omit<Mount, 'source'>): Mount {
  if (!source.startsWith('.') && !isAbsolute(source)) throw new Error(`volume ${source} is not a path`)
  return { source: resolve(folder, source), ...mount }
}

function readSecret(value: unknown, { folder, secrets }: Surroundings): Mount {
  const { source, target } =
    typeof value === 'string'
      ? { source: value, target: value }
      : known(table(value), 'secret', ['source', 'target'])
  const { file } = known(table(secrets[String(source)]), `secret ${source}`, ['file'])
  if (typeof file !== 'string') throw new Error(`no file of the secret ${source}`)
  return {
    source: resolve(folder, file),
    target: resolve('/run/secrets', String(target ?? source)),
    readOnly: true,
    create: false,
  }
}

function readHealthcheck(value: Yaml): Healthcheck {
  const check = known(value, 'healthcheck', [
    ...['test', 'interval', 'timeout', 'retries', 'start_period', 'disable'],
  ])
  if (check.disable === true) return healthcheckOf([], {})
  return healthcheckOf(strings(check.test), {
    interval: text(check.interval),
    timeout: text(check.timeout),
    startPeriod: text(check.start_period),
    retries: check.retries === undefined ? undefined : Number(check.retries),
  })
}

/** @param test in the form of an image's configuration: `CMD` or `CMD-SHELL` first. */
export function healthcheckOf(
  [kind, ...args]: readonly string[],
  times: {
    readonly interval?: string | undefined
    readonly timeout?: string | undefined
    readonly startPeriod?: string | undefined
    readonly retries?: number | undefined
  },
): Healthcheck {
  const interval = milliseconds(times.interval, 30_000)
  return {
    test: kind === 'CMD' ? args : kind === 'CMD-SHELL' ? ['/bin/sh', '-c', ...args] : [],
    timeoutMs: milliseconds(times.timeout, 30_000),
    patienceMs: milliseconds(times.startPeriod, 0) + interval * (times.retries ?? 3),
  }
}

/** `30s`, `1m30s`, `500ms`. */
export function milliseconds(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  const parts = [...String(value).matchAll(/(\d+)(ms|s|m|h)/g)]
  if (parts.map(([part]) => part).join('') !== value) throw new Error(`duration ${value}`)
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0), 0)
}

/** `$$`, `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?error}` in every string. */
function interpolate(value: unknown, env: Readonly<Record<string, string>>): unknown {
  if (Array.isArray(value)) return value.map((item) => interpolate(item, env))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, env)]))
  if (typeof value !== 'string') return value
  return value.replace(
    /\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?])([^}]*))?\})/g,
    (_, escaped, bare, braced, operator, word) => {
      if (escaped) return '$'
      const setting = env[bare ?? braced]
      const absent = setting === undefined || (operator?.startsWith(':') && setting === '')
      if (absent && operator?.endsWith('?')) throw new Error(`${braced}: ${word}`)
      return absent ? (word ?? '') : setting
    },
  )
}

/** Refuses keys that are not known; `x-…` are the author's own. */
function known(value: Yaml, where: string, keys: readonly string[]): Yaml {
  const unknown = Object.keys(value).filter((key) => !keys.includes(key) && !key.startsWith('x-'))
  if (unknown.length > 0) throw new Error(`${where}: what ${unknown} means is not known here`)
  return value
}

function table(value: unknown): Yaml {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw new Error('a table expected')
  return value as Yaml
}

function list(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value]
}

function strings(value: unknown): readonly string[] {
  return list(value).map((item) => {
    if (typeof item !== 'string') throw new Error(`a string expected: ${JSON.stringify(item)}`)
    return item
  })
}

function text(value: unknown): string | undefined {
  return value === undefined ? undefined : String(value)
}

/** A list, or a line without quotes. */
function words(value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string') return strings(value)
  if (/["'\\]/.test(value)) throw new Error(`write as a list: ${value}`)
  return value.split(/\s+/).filter((word) => word !== '')
}

function splitOnce(pair: string, separator: string): [string, string] {
  const at = pair.indexOf(separator)
  if (at < 0) throw new Error(`no ${separator} in ${pair}`)
  return [pair.slice(0, at), pair.slice(at + 1)]
}
