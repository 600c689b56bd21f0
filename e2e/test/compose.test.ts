import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { type Program, parseConfig } from '@passport-kbs/service'
import { Ajv } from 'ajv'
import { parse as parseToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { type ComposeModel, type ComposeService, readComposeFile } from '../src/containers/compose-file.ts'
import { type Ended, runKbsctl } from '../src/program.ts'

const folder = resolve(import.meta.dirname, '../../docker')
const text = (path: string) => readFileSync(join(folder, path), 'utf8')

/** A compose file as it is written. */
type Yaml = { readonly [key: string]: Yaml | undefined } & { readonly [index: number]: Yaml }

const raw = (name: string): Yaml => parseYaml(text(`compose.${name}.yaml`))
const model = (name: string, env: Readonly<Record<string, string>> = {}): ComposeModel =>
  readComposeFile(join(folder, `compose.${name}.yaml`), env)

const deployments: readonly [string, Program][] = [
  ['trustee1', 'kbs-attest'],
  ['trustee2', 'kbs-resource'],
  ['background-check', 'kbs'],
  ['attestation-service', 'attestation-service'],
]

/** Keeps secrets, so encrypts its store. */
const keepsSecrets = (program: Program) => program === 'kbs-resource' || program === 'kbs'

/** Every absolute path that a configuration names. */
const pathsIn = (configuration: string) =>
  [...configuration.matchAll(/[" ](\/(?:run|etc|data)[^"\s]*)/g)].map(([, path]) => path ?? '')

const secretsOf = (service: ComposeService | undefined) =>
  (service?.mounts ?? []).filter(({ target }) => target.startsWith('/run/secrets/'))

/** The Compose Specification's JSON schema. */
const schemaFile = join(
  dirname(createRequire(import.meta.url).resolve('dclint/package.json')),
  'schemas/compose.schema.json',
)
const checkSchema = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile({
  ...JSON.parse(readFileSync(schemaFile, 'utf8')),
  // the same draft under the name that the validator knows
  $schema: 'http://json-schema.org/draft-07/schema#',
})
const schemaErrors = (document: unknown) => {
  checkSchema(document)
  return (checkSchema.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
}

describe.each(deployments)('docker/compose.%s.yaml', (name, program) => {
  const file = model(name)
  const document = raw(name)
  const services = [...file.services.values()]
  const service = (which: string): ComposeService => {
    const found = file.services.get(which)
    if (found === undefined) throw new Error(`no service ${which}`)
    return found
  }
  const ours = services.filter(({ build }) => build !== undefined)

  it('is a compose file by the Compose Specification', () => {
    expect(schemaErrors(document)).toEqual([])
  })

  it.each<[string, (services: Record<string, Record<string, unknown>>) => void, string]>([
    ['an unknown key', (all) => Object.assign(all.redis ?? {}, { read_onyl: true }), '/services/redis'],
    ['a port that is a table of nothing', (all) => Object.assign(all.redis ?? {}, { ports: {} }), '/ports'],
    ['a number where a list belongs', (all) => Object.assign(all.init ?? {}, { cap_drop: 3 }), '/cap_drop'],
    [
      'a dependency on no known condition',
      (all) => Object.assign(all[program] ?? {}, { depends_on: { redis: { condition: 'service_happy' } } }),
      '/depends_on',
    ],
    ['a service that is a text', (all) => Object.assign(all, { redis: 'redis:7' }), '/services/redis'],
    [
      'a health check without a form',
      (all) => Object.assign(all.redis ?? {}, { healthcheck: 7 }),
      '/healthcheck',
    ],
  ])('would not be one with %s', (_, change, where) => {
    const changed = structuredClone(document)
    change(changed.services as never)
    expect(schemaErrors(changed).join('\n')).toContain(where)
  })

  it(`is ${program}, its Redis, and what is run by hand; nothing else`, () => {
    const byHand = keepsSecrets(program) ? ['init', 'rewrap'] : ['init']
    expect([...file.services.keys()]).toEqual([program, 'redis', ...byHand])
    for (const { name: own, profiles } of services)
      expect(profiles).toEqual(byHand.includes(own) ? [own] : [])
  })

  it('builds images of programs that are there, from files that are there, and pulls none of them', () => {
    expect(service(program).build?.args.APP).toBe(program)
    for (const { build, image } of ours) {
      const app = build?.args.APP ?? ''
      expect(image).toBe(`passport-kbs/${app}:${versionOf(app)}`)
      expect(build?.dockerfile).toBe(join(folder, 'Dockerfile'))
      expect(build?.context).toBe(resolve(folder, '..'))
    }
    for (const { name: own } of ours) expect(document.services?.[own]?.pull_policy).toBe('never')
  })

  it('starts programs with the command that the image or the program knows', () => {
    expect(service(program).entrypoint).toBeUndefined()
    expect(service(program).command).toEqual(['--config-file', '/etc/passport-kbs/config.toml'])
    expect(service('redis').entrypoint).toEqual(['redis-server'])
  })

  it('refers to services, networks and secrets that are declared, and declares none that nobody uses', () => {
    for (const { dependsOn } of services)
      for (const [other, condition] of dependsOn) {
        expect(condition).toBe('service_healthy')
        expect(service(other).healthcheck?.test.length).toBeGreaterThan(0)
      }
    const used = (key: 'networks' | 'secrets') =>
      Object.values(document.services ?? {}).flatMap((one) => (one?.[key] as unknown as string[]) ?? [])
    for (const key of ['networks', 'secrets'] as const)
      expect(new Set(used(key))).toEqual(new Set(Object.keys(document[key] ?? {})))
    expect(Object.keys(document).sort()).toEqual(['name', 'networks', 'secrets', 'services'])
  })

  it('mounts configurations that are there, read-only, and data that Redis alone may write', () => {
    for (const { name: own, mounts } of services) {
      for (const { source, target, readOnly, create } of mounts) {
        if (target.startsWith('/run/secrets/') || own === 'init') continue
        if (target === '/data') {
          expect([own, source, create]).toEqual(['redis', join(folder, 'data', name), false])
        } else {
          expect(statSync(source).isFile()).toBe(true)
          expect(readOnly).toBe(true)
        }
      }
    }
  })

  it('gives the program a configuration that it accepts in the production profile', () => {
    const config = parseConfig(program, parseToml(text(`config/${name}.toml`)), {})
    expect(
      service(program).mounts.find(({ target }) => target === '/etc/passport-kbs/config.toml')?.source,
    ).toBe(join(folder, 'config', `${name}.toml`))
    expect(config.profile).toBe('production')
    expect(config.storage.data.type).toBe('Redis')
    expect(config.storage.sessions.type).toBe('Redis')
    expect(config.warnings).toEqual([])
  })

  it('mounts each secret that a configuration names, and no other', () => {
    const named = (path: string) =>
      [...new Set(pathsIn(text(path)).filter((one) => one.startsWith('/run')))].sort()
    const mounted = (which: string) =>
      secretsOf(service(which))
        .map(({ target }) => target)
        .sort()
    expect(mounted(program)).toEqual(named(`config/${name}.toml`))
    // the health check logs in
    expect(mounted('redis')).toEqual([...named('config/redis.conf'), '/run/secrets/redis_password'].sort())
    if (file.services.has('rewrap')) {
      const storage = text(`config/${name}.toml`).split('[storage_backend]')[1] ?? ''
      expect(mounted('rewrap')).toEqual(pathsIn(storage).sort())
    }
    expect(mounted('init')).toEqual([])
  })

  it('runs nothing as root, nothing with privileges, nothing without limits', () => {
    const allowed = new Set([
      ...[
        'image',
        'pull_policy',
        'build',
        'profiles',
        'entrypoint',
        'command',
        'user',
        'read_only',
        'cap_drop',
      ],
      ...[
        'security_opt',
        'tmpfs',
        'mem_limit',
        'pids_limit',
        'init',
        'restart',
        'stop_grace_period',
        'logging',
      ],
      ...['ports', 'networks', 'network_mode', 'depends_on', 'volumes', 'secrets', 'healthcheck'],
    ])
    for (const [own, written] of Object.entries(document.services ?? {})) {
      // no privileged, cap_add, devices, pid, ipc, userns_mode, group_add, sysctls, volumes_from, extends
      expect(Object.keys(written ?? {}).filter((key) => !allowed.has(key))).toEqual([])
      expect(written).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        mem_limit: expect.stringMatching(/^\d+[gm]$/),
        pids_limit: expect.any(Number),
      })
      expect(model(name, { KBS_UID: '1234', KBS_GID: '5678' }).services.get(own)?.user).toBe('1234:5678')
      expect(service(own).user).toBe('1000:1000')
      expect(service(own).mounts.some(({ source }) => /docker\.sock|^\/(?!.*docker\/)/.test(source))).toBe(
        false,
      )
    }
  })

  it('bounds the logs of what stays, and starts it again', () => {
    for (const own of [program, 'redis']) {
      const options = {
        'max-size': expect.stringMatching(/^\d+m$/),
        'max-file': expect.stringMatching(/^\d$/),
      }
      expect(document.services?.[own]).toMatchObject({
        restart: 'unless-stopped',
        logging: { driver: 'local', options },
      })
    }
  })

  it('publishes the program only; Redis stands in a network without a way out, init in none', () => {
    expect(services.filter(({ ports }) => ports.length > 0).map((one) => one.name)).toEqual([program])
    expect(service('redis').networks).toEqual(['store'])
    expect(file.networks.get('store')?.internal).toBe(true)
    expect(service('init').networks).toBe('none')
  })

  it('takes an image of Redis by its digest', () => {
    expect(service('redis').image).toMatch(/^redis:\d+\.\d+\.\d+-bookworm@sha256:[0-9a-f]{64}$/)
  })

  it('asks Redis how it is with programs that its image has, as the user of the ACL file, over TLS', () => {
    const [shell, option, script] = service('redis').healthcheck?.test ?? []
    expect([shell, option]).toEqual(['/bin/sh', '-c'])
    expect(script).toBe(
      'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" ' +
        'redis-cli --user kbs --tls --cacert /run/secrets/tls_ca ping | grep -q PONG',
    )
  })

  describe('after its service init has run', () => {
    const place = mkdtempSync(join(tmpdir(), 'kbs-compose-'))
    let outcome: Ended
    beforeAll(async () => {
      outcome = await runInit(model(name, { KBS_DNS: 'kbs.example,localhost', KBS_IP: '127.0.0.1' }), place)
    })
    afterAll(() => rmSync(place, { recursive: true }))
    /** Where the test has what the compose file has in its own folder. */
    const made = (source: string) => join(place, relative(folder, source))

    it('has made all that is mounted, for its owner alone; but not what comes from the other Trustee', () => {
      expect(outcome.code).toBe(0)
      const missing = services
        .flatMap(secretsOf)
        .map(({ source }) => source)
        .filter((source) => !existsSync(made(source)))
      expect(new Set(missing)).toEqual(
        new Set(name === 'trustee2' ? [join(folder, 'secrets/trustee2/trustee1-ca.pem')] : []),
      )
      for (const { source } of services
        .flatMap(secretsOf)
        .filter(({ source: one }) => !missing.includes(one))) {
        const mode = statSync(made(source)).mode & 0o777
        expect([source, mode]).toEqual([source, source.endsWith('.pem') ? 0o644 : 0o600])
      }
      expect(statSync(join(place, 'secrets', name)).mode & 0o777).toBe(0o700)
    })

    it('has made the directory that Redis writes to', () => {
      expect(statSync(join(place, 'data', name)).mode & 0o777).toBe(0o700)
    })

    it('has made nothing that is used nowhere, but what is handed out or kept offline', () => {
      const mounted = new Set(services.flatMap(secretsOf).map(({ source }) => made(source)))
      const files = readdirSync(join(place, 'secrets', name), { recursive: true, withFileTypes: true })
      const rest = files
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .filter((path) => !mounted.has(path))
        .map((path) => relative(join(place, 'secrets', name), path))
        .sort()
      const tokenCa = program === 'kbs-resource' ? [] : ['offline/token-ca.key', 'token-ca.pem']
      const admin = program === 'attestation-service' ? ['client.token'] : ['offline/admin.key']
      expect(rest).toEqual([...admin, 'offline/ca.key', ...tokenCa])
    })

    it('mounts nothing of what is kept offline', () => {
      for (const { source } of services.filter((one) => one.name !== 'init').flatMap(({ mounts }) => mounts))
        expect(source).not.toContain('offline')
    })

    it('does not make them again', async () => {
      const again = await runInit(model(name), place)
      expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing was written') })
    })
  })
})

/** Runs the service `init` as the file says, in a place where the mounted folders of the container are. */
async function runInit(file: ComposeModel, place: string): Promise<Ended> {
  const init = file.services.get('init')
  const [node, program, ...args] = [...(init?.entrypoint ?? []), ...(init?.command ?? [])]
  expect([node, program]).toEqual(['/nodejs/bin/node', '/app/main.mjs'])
  const mounts = init?.mounts ?? []
  expect(mounts.map(({ source, target }) => [relative(folder, source), target])).toEqual([
    ['secrets', '/secrets'],
    ['data', '/data'],
  ])
  return await runKbsctl(
    args.map((arg) => arg.replace(/=\/(secrets|data)\//, `=${place}/$1/`)),
    { cwd: place },
  )
}

function versionOf(app: string): string {
  return JSON.parse(text(`../apps/${app}/package.json`)).version
}

it('the two Trustees agree on issuer and audience, and share nothing else', () => {
  const trustee1 = parseConfig('kbs-attest', parseToml(text('config/trustee1.toml')), {})
  const trustee2 = parseConfig('kbs-resource', parseToml(text('config/trustee2.toml')), {})
  const service = trustee1.attestationService
  const [issuer] = trustee2.attestationToken.issuers
  expect(service.type === 'coco_as_builtin' && service.attestationTokenBroker).toMatchObject({
    issuerName: issuer?.issuer,
    audience: issuer?.audience,
  })
  const sources = (name: string) =>
    [...model(name).services.values()].flatMap(secretsOf).map(({ source }) => source)
  expect(sources('trustee1').filter((source) => sources('trustee2').includes(source))).toEqual([])
})

it('secrets and data never get into git or into an image', () => {
  expect(text('.gitignore').split('\n')).toEqual(
    expect.arrayContaining(['secrets/*', '!secrets/.gitkeep', 'data/*', '!data/.gitkeep']),
  )
  const ignored = text('Dockerfile.dockerignore').split('\n')
  expect(ignored).toEqual(expect.arrayContaining(['docker/secrets', 'docker/data', '**/node_modules']))
})
