import { readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import type { Metafile } from 'esbuild'

/** A package of which something went into the bundle. */
interface BundledPackage {
  readonly name: string
  readonly version: string
  readonly license: string | undefined
  /** Ours, from this repository; not from a registry. */
  readonly own: boolean
  /** Of the packages whose modules its modules import. */
  readonly dependsOn: Set<string>
}

const root = resolve(import.meta.dirname, '..')

/**
 * What a bundle is made of, as a CycloneDX 1.6 document: exactly the packages that have bytes in it, from the bundler's own
 * record, with the registry's hashes from the lock file. The same sources give the same text.
 *
 * @param directory of the program; the record's paths are against it
 */
export async function sbomOf(metafile: Metafile, directory: string): Promise<string> {
  const lock = await readFile(join(root, 'pnpm-lock.yaml'), 'utf8')
  const packages = await packagesOf(metafile, directory)
  const app = packages.get(referenceOf(await describePackage(directory)))
  if (app === undefined) throw new Error(`the bundle has nothing of ${directory}`)
  const all = [...packages.values()].sort((a, b) => (referenceOf(a) < referenceOf(b) ? -1 : 1))
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: componentOf(app, 'application', lock),
      lifecycles: [{ phase: 'build' }],
    },
    components: all.filter((one) => one !== app).map((one) => componentOf(one, 'library', lock)),
    dependencies: all.map((one) => ({ ref: referenceOf(one), dependsOn: [...one.dependsOn].sort() })),
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

/** By reference. */
async function packagesOf(
  { inputs, outputs }: Metafile,
  directory: string,
): Promise<ReadonlyMap<string, BundledPackage>> {
  const all = new Map<string, BundledPackage>()
  const byModule = new Map<string, BundledPackage>()
  for (const path of Object.keys(inputs)) {
    const described = await describePackage(packageFolder(resolve(directory, path)))
    const reference = referenceOf(described)
    // the same package may be installed more than once, beside different peers
    const known = all.get(reference) ?? described
    all.set(reference, known)
    byModule.set(path, known)
  }
  const used = new Set(
    Object.values(outputs).flatMap((output) =>
      Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) =>
        bytesInOutput > 0 ? [byModule.get(path)] : [],
      ),
    ),
  )
  for (const [path, owner] of byModule) {
    for (const imported of inputs[path]?.imports ?? []) {
      const dependency = byModule.get(imported.path)
      if (dependency !== undefined && dependency !== owner && used.has(dependency))
        owner.dependsOn.add(referenceOf(dependency))
    }
  }
  return new Map([...all].filter(([, one]) => used.has(one)))
}

/** The folder that a package manager knows as the module's package; below it there may be more `package.json`. */
function packageFolder(module: string): string {
  const [, installed] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(module) ?? []
  if (installed !== undefined) return installed
  const [, own] = /^((?:apps|packages)\/[^/]+)\//.exec(relative(root, module)) ?? []
  if (own === undefined) throw new Error(`${module} is in no package`)
  return join(root, own)
}

async function describePackage(folder: string): Promise<BundledPackage> {
  const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const own = !folder.includes('/node_modules/')
  return {
    name,
    version,
    license: typeof license === 'string' ? license : undefined,
    own,
    dependsOn: new Set(),
  }
}

function componentOf(one: BundledPackage, type: 'application' | 'library', lock: string): object {
  const { name, version, license, own } = one
  const slash = name.startsWith('@') ? name.indexOf('/') : -1
  return {
    type,
    'bom-ref': referenceOf(one),
    ...(slash > 0 && { group: name.slice(0, slash) }),
    name: name.slice(slash + 1),
    version,
    ...(license !== undefined && { licenses: [licenseOf(license)] }),
    purl: referenceOf(one),
    ...(!own && { externalReferences: [distributionOf(one, lock)] }),
  }
}

/** A package URL. */
function referenceOf({ name, version }: BundledPackage): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`
}

function licenseOf(license: string): object {
  return /^[A-Za-z0-9.-]+$/.test(license) ? { license: { id: license } } : { expression: license }
}

/** The archive in the registry, with its hash. */
function distributionOf({ name, version }: BundledPackage, lock: string): object {
  const key = name.startsWith('@') ? `'${name}@${version}'` : `${name}@${version}`
  const start = lock.indexOf(`\n  ${key}:\n    resolution: {integrity: sha512-`)
  const hash = /sha512-([A-Za-z0-9+/=]+)/.exec(lock.slice(start, start + 400))?.[1]
  if (start < 0 || hash === undefined) throw new Error(`${name}@${version} is not in pnpm-lock.yaml`)
  return {
    type: 'distribution',
    url: `https://registry.npmjs.org/${name}/-/${name.slice(name.indexOf('/') + 1)}-${version}.tgz`,
    hashes: [{ alg: 'SHA-512', content: Buffer.from(hash, 'base64').toString('hex') }],
  }
}
