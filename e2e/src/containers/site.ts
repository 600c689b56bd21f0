import { randomUUID } from 'node:crypto'
import { chown, cp, mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Ended } from '../program.ts'
import { type ComposeModel, readComposeFile } from './compose-file.ts'
import type { Container } from './container.ts'
import { buildImage, type Image } from './image.ts'
import type { Machine, Project } from './machine.ts'
import type { Wire } from './wire.ts'

/** One compose file, brought up by an operator on a machine of its own as docs/deploy-compose.md has it. */
export interface Site {
  readonly machine: Machine
  readonly project: Project
  /** The program's service; its Redis is the service `redis`. */
  program(): Container
  /** A file in the operator's checkout, by its path there. */
  read(path: string): Promise<string>
  write(path: string, content: string): Promise<void>
  /** `docker compose … run --rm init ARGS…` */
  init(...args: readonly string[]): Promise<Ended>
  /** A command of kbsctl, given in the checkout on this machine. */
  kbsctl(...args: readonly string[]): Promise<Ended>
  /** Reads the compose file again, with further volumes by service, as a second file would add them. */
  model(volumes?: Readonly<Record<string, readonly string[]>>): ComposeModel
}

export interface SiteOptions {
  /** As in the file's name: `docker/compose.<where>.yaml`. */
  readonly where: string
  /** The program's service. */
  readonly service: string
  /** The name by which guests know the machine. */
  readonly dns: string
}

const repository = new URL('../../..', import.meta.url).pathname

/** The operator: some user, not the one that images or compose files have as default. */
const operator = 1234

/** Where docs/deploy-compose.md mounts the checkout for `kbsctl`. */
const checkoutInside = '/here'

export async function createSite(wire: Wire, options: SiteOptions): Promise<Site> {
  const machine = await wire.addMachine(options.where, [options.dns])
  const checkout = await cloneOfDocker()
  const env = { KBS_UID: String(operator), KBS_GID: String(operator), KBS_DNS: `${options.dns},localhost` }
  const model: Site['model'] = (volumes) =>
    readComposeFile(join(checkout, `docker/compose.${options.where}.yaml`), env, volumes)
  const images = await buildImages(model(), checkout)
  const project = machine.project(model(), images)
  return {
    machine,
    project,
    program: () => project.container(options.service),
    read: (path) => readFile(join(checkout, path), 'utf8'),
    write: async (path, content) => {
      await own(dirname(join(checkout, path)), checkout)
      await writeFile(join(checkout, path), content, { mode: 0o600 })
      await chown(join(checkout, path), operator, operator)
    },
    init: (...args) => project.run('init', ...args),
    async kbsctl(...args) {
      const image = images.get(model().services.get('init')?.image ?? '')
      if (image === undefined) throw new Error('no image of kbsctl')
      const container = await machine.start({
        name: `kbsctl-${randomUUID().slice(0, 8)}`,
        image,
        args: [...image.entrypoint, ...args],
        workingDir: checkoutInside,
        user: `${operator}:${operator}`,
        mounts: [{ source: checkout, target: checkoutInside, readOnly: false }],
      })
      const code = await container.ended()
      return { code, stdout: container.standardOutput(), stderr: container.output() }
    },
    model,
  }
}

/** What a clone of the repository has below `docker`; nothing that a developer keeps there. */
async function cloneOfDocker(): Promise<string> {
  const checkout = await mkdtemp(join(tmpdir(), 'kbs-checkout-'))
  const source = join(repository, 'docker')
  const kept = /^(secrets|data)\//
  await cp(source, join(checkout, 'docker'), {
    recursive: true,
    filter: (path) => !kept.test(relative(source, path)),
  })
  for (const folder of ['secrets', 'data']) await mkdir(join(checkout, 'docker', folder), { recursive: true })
  await own(checkout)
  for (const entry of await readdir(checkout, { recursive: true }))
    await chown(join(checkout, entry), operator, operator)
  return checkout
}

/** Makes folders down to this one, the operator's from `above` on. */
async function own(folder: string, above = folder): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (let path = folder; path.length >= above.length; path = dirname(path))
    await chown(path, operator, operator)
}

const built = new Map<string, Promise<Image>>()

/** The images that a compose file builds, by name; each is built once. Its context is this repository. */
async function buildImages(model: ComposeModel, checkout: string): Promise<ReadonlyMap<string, Image>> {
  const images = new Map<string, Image>()
  for (const { image, build } of model.services.values()) {
    if (build === undefined || images.has(image)) continue
    if (relative(checkout, build.context) !== '') throw new Error(`context ${build.context}`)
    const dockerfile = join(repository, relative(checkout, build.dockerfile))
    const made = built.get(image) ?? buildImage({ ...build, context: repository, dockerfile })
    built.set(image, made)
    images.set(image, await made)
  }
  return images
}
