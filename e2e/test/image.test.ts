import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { bundle } from '../../docker/bundle.ts'
import { readDockerfile } from '../src/containers/dockerfile.ts'

const root = resolve(import.meta.dirname, '../..')
const text = (path: string) => readFileSync(join(root, path), 'utf8')
const dockerfile = text('docker/Dockerfile')

interface Sbom {
  readonly metadata: { readonly component: Component }
  readonly components: readonly Component[]
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[]
}

interface Component {
  readonly type: string
  readonly 'bom-ref': string
  readonly group?: string
  readonly name: string
  readonly version: string
  readonly licenses?: readonly unknown[]
  readonly externalReferences?: readonly {
    readonly url: string
    readonly hashes: readonly { readonly alg: string; readonly content: string }[]
  }[]
}

const nameOf = ({ group, name, version }: Component) => `${group ? `${group}/` : ''}${name}@${version}`

const apps = readdirSync(join(root, 'apps'))

describe.each(apps)('the image of %s', (app) => {
  const output = mkdtempSync(join(tmpdir(), 'kbs-bundle-'))
  let sbom: Sbom
  beforeAll(async () => {
    await bundle(join(root, 'apps', app), join(output, 'main.js'))
    sbom = JSON.parse(readFileSync(join(output, 'sbom.cdx.json'), 'utf8'))
  }, 30_000)
  afterAll(() => rmSync(output, { recursive: true }))

  it('has the program in one file, which starts without anything beside it', () => {
    const main = join(output, 'main.js')
    const args = app === 'kbsctl' ? ['--version'] : ['--config-file', '/nowhere/kbs.toml']
    const run = spawnSync(process.execPath, [main, ...args], {
      encoding: 'utf8',
      cwd: output,
      timeout: 20_000,
    })
    const said = app === 'kbsctl' ? '0.1.0' : '/nowhere/kbs.toml: the file cannot be read (ENOENT)'
    expect(run.stdout + run.stderr).toContain(said)
    expect(run.status === 0).toBe(app === 'kbsctl')
  })

  it('has a bill of materials by the schema of CycloneDX', async () => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)
    expect(await validator.validate(JSON.stringify(sbom))).toBeNull()
    expect(await validator.validate(JSON.stringify({ ...sbom, components: [{ name: 'x' }] }))).not.toBeNull()
  })

  it('lists exactly the packages that the source map of the bundle names', () => {
    const { sources } = JSON.parse(readFileSync(join(output, 'main.js.map'), 'utf8'))
    const bundled = new Set<string>(sources.map((source: string) => packageOf(resolve(output, source))))
    const listed = [sbom.metadata.component, ...sbom.components].map(nameOf)
    expect([...listed].sort()).toEqual([...bundled].sort())
    expect(sbom.metadata.component).toMatchObject({
      type: 'application',
      group: '@passport-kbs',
      name: `app-${app}`,
    })
  })

  it('gives the licence of each, and the hash that the lock file has', () => {
    const { packages } = parseYaml(text('pnpm-lock.yaml'))
    for (const component of sbom.components) {
      expect([nameOf(component), component.licenses?.length]).toEqual([nameOf(component), 1])
      if (component.group === '@passport-kbs') continue
      const [reference] = component.externalReferences ?? []
      const { integrity } = packages[nameOf(component)].resolution
      const sha512 = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex')
      expect(reference?.hashes).toEqual([{ alg: 'SHA-512', content: sha512 }])
    }
  })

  it('knows what each depends on: all that is listed is reached from the program', () => {
    const graph = new Map(sbom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]))
    const reached = new Set<string>()
    const visit = (ref: string) => {
      if (reached.has(ref)) return
      reached.add(ref)
      for (const next of graph.get(ref) ?? []) visit(next)
    }
    visit(sbom.metadata.component['bom-ref'])
    expect([...reached].sort()).toEqual([...graph.keys()].sort())
  })

  it('is built by the script that the Dockerfile calls', () => {
    expect(JSON.parse(text(`apps/${app}/package.json`)).scripts.build).toBe('node ../../docker/bundle.ts')
  })
})

it('a bundle and its bill of materials are the same when they are made again', async () => {
  const output = mkdtempSync(join(tmpdir(), 'kbs-bundle-'))
  const made = await Promise.all(
    ['first', 'again'].map(async (name) => {
      await bundle(join(root, 'apps/kbs-resource'), join(output, name, 'main.js'))
      return ['main.js', 'sbom.cdx.json'].map((file) => readFileSync(join(output, name, file), 'utf8'))
    }),
  )
  expect(made[0]?.every((text, index) => text === made[1]?.[index])).toBe(true)
  rmSync(output, { recursive: true })
}, 30_000)

it('a bill of materials can be made wherever the checkout is', async () => {
  const checkout = mkdtempSync(join(tmpdir(), 'c++ (1) '))
  const app = join(checkout, 'apps/one')
  mkdirSync(join(checkout, 'docker'))
  mkdirSync(app, { recursive: true })
  copyFileSync(join(root, 'docker/sbom.ts'), join(checkout, 'docker/sbom.ts'))
  writeFileSync(join(checkout, 'pnpm-lock.yaml'), '')
  writeFileSync(join(app, 'package.json'), '{"name":"one","version":"1.0.0","license":"Apache-2.0"}')
  const { sbomOf } = await import(join(checkout, 'docker/sbom.ts'))
  const path = 'src/main.ts'
  const record = {
    inputs: { [path]: { bytes: 1, imports: [] } },
    outputs: { 'main.js': { inputs: { [path]: { bytesInOutput: 1 } } } },
  }
  expect(JSON.parse(await sbomOf(record, app)).metadata.component.name).toBe('one')
  rmSync(checkout, { recursive: true })
})

describe('docker/Dockerfile', () => {
  const stage = readDockerfile(dockerfile, { APP: 'kbs', REVISION: 'abc' }, undefined)
  const label = (name: string) => new RegExp(`${name.replaceAll('.', '\\.')}="([^"]*)"`).exec(dockerfile)?.[1]

  it('pins its bases by digest, and takes nothing else from a registry of images', () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)
    expect(bases).toHaveLength(2)
    for (const base of bases) expect(base).toMatch(/:[a-z0-9.-]+@sha256:[0-9a-f]{64}$/)
    expect(dockerfile).not.toMatch(/^# *syntax=/m)
    expect(dockerfile).not.toMatch(/--from=(?!build\b)|^ADD /m)
    expect(bases[0]).toContain(`node:${JSON.parse(text('package.json')).devDependencies.node}-`)
  })

  it('says in labels what the image is, what it stands on and where its bill of materials is', () => {
    const { version, license, packageManager } = JSON.parse(text('package.json'))
    expect(stage.base).toBe(
      `${label('org.opencontainers.image.base.name')}@${label('org.opencontainers.image.base.digest')}`,
    )
    expect(label('org.opencontainers.image.licenses')).toBe(license)
    expect(label('org.opencontainers.image.title')).toMatch(/^passport-kbs \$\{APP\}$/)
    expect(dockerfile).toContain(`ARG VERSION=${version}\n`)
    for (const name of ['version', 'revision', 'description'])
      expect(label(`org.opencontainers.image.${name}`)).toBeTruthy()
    expect(stage.copies.map(({ target }) => target)).toContain(label('passport-kbs.sbom'))
    expect(dockerfile.match(/pnpm@[\d.]+/g)?.every((used) => used === packageManager)).toBe(true)
  })

  it('runs the program as nobody in particular, without a shell', () => {
    expect(stage.user).toBe('65532:65532')
    expect(stage.entrypoint).toEqual(['/nodejs/bin/node', '/app/main.mjs'])
    expect(stage.command).toEqual([])
    expect(stage.commands).toEqual([])
    expect(stage.healthcheck?.test).toEqual(['/nodejs/bin/node', '/app/healthcheck.mjs'])
    expect(stage.base).toContain('distroless')
  })

  it('copies files only, that nobody may change', () => {
    expect(stage.copies.map(({ target }) => target).sort()).toEqual([
      ...['/app/healthcheck.mjs', '/app/main.mjs', '/app/sbom.cdx.json'],
    ])
    for (const { mode } of stage.copies) expect(mode).toBe(0o444)
    expect(dockerfile.match(/^COPY --\S+ .*$/gm)?.every((line) => line.includes('--chown=0:0'))).toBe(true)
  })

  it('says how its digests are refreshed', () => {
    expect(text('docker/README.md')).toContain('imagetools inspect')
    expect(statSync(join(root, 'docker/healthcheck.mjs')).isFile()).toBe(true)
  })
})

/** Told from the source's path: pnpm's folder names, of which the bill of materials knows nothing, or our own folders. */
function packageOf(source: string): string {
  const [, name, version] = /\/node_modules\/\.pnpm\/(@?[^@/]+)@([^_(/]+)[^/]*\//.exec(source) ?? []
  if (name !== undefined) return `${name.replace('+', '/')}@${version}`
  const [, folder] = /^(.*\/(?:packages|apps)\/[^/]+)\//.exec(source) ?? []
  if (folder === undefined) throw new Error(`${source} is in no package`)
  const own = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return `${own.name}@${own.version}`
}
