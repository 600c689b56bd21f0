import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Program, parseConfig } from '@passport-kbs/service'
import { parse as parseToml } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { bundle } from '../../docker/bundle.ts'

const folder = resolve(import.meta.dirname, '../../docker')
const text = (path: string) => readFileSync(join(folder, path), 'utf8')

/** What these tests say something about; `docker compose config` checks the rest. */
interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>
  readonly volumes: Readonly<Record<string, unknown>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
}

interface ComposeService {
  readonly image: string
  readonly build?: {
    readonly context: string
    readonly dockerfile: string
    readonly args: { readonly APP: string }
  }
  readonly user?: string
  readonly read_only: boolean
  readonly cap_drop: readonly string[]
  readonly security_opt: readonly string[]
  readonly volumes: readonly string[]
  readonly secrets: readonly string[]
  readonly networks: readonly string[]
  readonly ports?: readonly string[]
}

const readCompose = (name: string): ComposeFile => parseYaml(text(`compose.${name}.yaml`))

/** Every absolute path that the configuration names. */
const pathsIn = (toml: string) =>
  [...toml.matchAll(/"(\/(?:run|etc)\/[^"]+)"/g)].map(([, path]) => path ?? '')

const deployments: readonly [string, Program][] = [
  ['trustee1', 'kbs-attest'],
  ['trustee2', 'kbs-resource'],
  ['background-check', 'kbs'],
]

describe.each(deployments)('docker/compose.%s.yaml', (name, program) => {
  const compose = readCompose(name)
  const services = Object.values(compose.services)
  const app = compose.services[program]

  it(`builds ${program} from files that are there`, () => {
    const build = app?.build
    expect(build?.args.APP).toBe(program)
    expect(statSync(resolve(folder, build?.context ?? '', build?.dockerfile ?? '')).isFile()).toBe(true)
    expect(statSync(resolve(folder, '../apps', program, 'package.json')).isFile()).toBe(true)
  })

  it('mounts files that are there, read-only, and declares every volume', () => {
    for (const mount of services.flatMap((service) => service.volumes)) {
      const [source = '', , mode] = mount.split(':')
      if (!source.startsWith('./')) {
        expect(compose.volumes).toHaveProperty(source)
        continue
      }
      expect(statSync(join(folder, source)).isFile()).toBe(true)
      expect(mode).toBe('ro')
    }
  })

  it('gives the program a configuration that it accepts in the production profile', () => {
    expect(app?.volumes).toEqual([`./config/${name}.toml:/etc/passport-kbs/config.toml:ro`])
    const config = parseConfig(program, parseToml(text(`config/${name}.toml`)), {})
    expect(config.profile).toBe('production')
    expect(config.storage.data.type).toBe('Redis')
    expect(config.storage.sessions.type).toBe('Redis')
    expect(config.warnings).toEqual([])
  })

  it('mounts each secret that the configuration names, and no other', () => {
    const named = new Set(pathsIn(text(`config/${name}.toml`)))
    expect(app?.secrets.map((secret) => `/run/secrets/${secret}`).sort()).toEqual([...named].sort())
    expect(new Set(services.flatMap((service) => service.secrets))).toEqual(
      new Set(Object.keys(compose.secrets)),
    )
    for (const { file } of Object.values(compose.secrets)) {
      expect(file).toMatch(new RegExp(`^\\./secrets/${name}/[a-z0-9.-]+$`))
      expect(text('README.md')).toContain(file.slice(`./secrets/${name}/`.length))
    }
  })

  it('runs everything without privileges, on pinned images', () => {
    for (const service of services) {
      expect(service.read_only).toBe(true)
      expect(service.cap_drop).toEqual(['ALL'])
      expect(service.security_opt).toContain('no-new-privileges:true')
      expect(service.image).toMatch(/:\d+\.\d+\.\d+/)
    }
    expect(app?.user).toMatch(/1000/)
  })

  it('publishes the program only; Redis stands in a network without a way out', () => {
    expect(compose.services.redis?.ports).toBeUndefined()
    expect(compose.services.redis?.networks).toEqual(['store'])
    expect(compose.networks.store?.internal).toBe(true)
  })
})

it('the two Trustees agree on issuer and audience, and share nothing else', () => {
  const trustee1 = parseConfig('kbs-attest', parseToml(text('config/trustee1.toml')), {})
  const trustee2 = parseConfig('kbs-resource', parseToml(text('config/trustee2.toml')), {})
  const service = trustee1.attestationService
  const [issuer] = trustee2.attestationToken.issuers
  expect(service.type === 'coco_as_builtin' && service.attestationTokenBroker).toMatchObject({
    issuerName: issuer?.issuer,
    audience: issuer?.audience,
  })
  const files = (name: string) => Object.values(readCompose(name).secrets).map(({ file }) => file)
  expect(files('trustee1').filter((file) => files('trustee2').includes(file))).toEqual([])
})

describe.each(deployments)('the bundle in the image for %s', (name, program) => {
  it('starts as one file, and refuses a configuration that is not there', async () => {
    const output = mkdtempSync(join(tmpdir(), 'kbs-bundle-'))
    const file = join(output, 'main.mjs')
    await bundle(resolve(folder, '../apps', program), file)
    const run = spawnSync(process.execPath, [file, '--config-file', `/nowhere/${name}.toml`], {
      encoding: 'utf8',
      cwd: output,
    })
    rmSync(output, { recursive: true })
    expect(run.status).not.toBe(0)
    expect(run.stdout + run.stderr).toContain(`/nowhere/${name}.toml: the file cannot be read (ENOENT)`)
  })
})

describe('docker/Dockerfile', () => {
  const dockerfile = text('Dockerfile')

  it('pins its base images and does not run as root', () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)
    expect(bases).toHaveLength(2)
    for (const base of bases) expect(base).toMatch(/^node:24\.\d+\.\d+-/)
    expect(dockerfile).toMatch(/^USER 1000:1000$/m)
    expect(dockerfile).toMatch(/^HEALTHCHECK /m)
  })

  it('keeps secrets out of the build context', () => {
    expect(text('Dockerfile.dockerignore').split('\n')).toContain('docker/secrets')
    expect(text('.gitignore').split('\n')).toContain('secrets/')
  })
})
