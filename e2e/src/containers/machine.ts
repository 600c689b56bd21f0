import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Ended } from '../program.ts'
import type { ComposeModel, ComposeService, PublishedPort } from './compose-file.ts'
import {
  type Container,
  type ContainerMount,
  type ContainerOptions,
  defaultCapabilities,
  startContainer,
} from './container.ts'
import type { Image } from './image.ts'
import { createNetworkNamespace, type NetworkNamespace } from './network-namespace.ts'
import type { PublicName } from './wire.ts'

/** A machine with a container engine, as far as these tests need one. */
export interface Machine {
  readonly name: string
  readonly number: number
  readonly address: string
  readonly namespace: NetworkNamespace
  /** Adds a compose project, the only one here; `up` starts it. */
  project(model: ComposeModel, images: ReadonlyMap<string, Image>): Project
  /** Starts a program on the machine itself: in its network, without an engine's restrictions. */
  start(options: MachineProgram): Promise<Container>
  close(): Promise<void>
}

export type MachineProgram = Pick<ContainerOptions, 'name' | 'image' | 'args'> &
  Partial<Pick<ContainerOptions, 'env' | 'workingDir' | 'user' | 'mounts' | 'network'>>

/** What `docker compose` does with one project. */
export interface Project {
  /** `up -d --wait`: services without profiles, dependencies first, until each is healthy. */
  up(): Promise<void>
  /** `up -d --wait` with a changed file: every service is made anew. */
  recreate(model: ComposeModel): Promise<void>
  /** `run --rm SERVICE ARGS…`; arguments take the place of the service's command. */
  run(service: string, ...args: readonly string[]): Promise<Ended>
  /** `restart SERVICE`, until it is healthy: what is mounted is what is there by then. */
  restart(service: string): Promise<void>
  /** The container of a service. */
  container(service: string): Container
  /** The network stack in which a service's containers run. */
  network(service: string): Promise<NetworkNamespace>
  /** The address of a service in one of its networks. */
  address(service: string, network: string): Promise<string>
  down(): Promise<void>
}

interface MachineParts {
  readonly name: string
  readonly number: number
  readonly address: string
  readonly namespace: NetworkNamespace
  readonly names: readonly PublicName[]
  readonly images: { readonly redis: Image }
}

export function createMachine(parts: MachineParts): Machine {
  const { name, number, address, namespace, names } = parts
  let project: Project | undefined
  const programs: Container[] = []
  return {
    name,
    number,
    address,
    namespace,
    project(model, images) {
      if (project !== undefined) throw new Error(`${name} has a project`)
      project = createProject(parts, model, images)
      return project
    },
    async start(program) {
      const container = await startContainer({
        network: namespace.path,
        hosts: hostsFile(names.map(({ name, address }) => [address, name])),
        env: program.image.env,
        workingDir: program.image.workingDir,
        user: '0:0',
        readOnly: true,
        tmpfs: ['/tmp'],
        mounts: [],
        capabilities: [],
        noNewPrivileges: true,
        init: true,
        restart: 'no',
        stopGraceMs: 5_000,
        healthcheck: undefined,
        ...program,
      })
      programs.push(container)
      return container
    },
    async close() {
      await Promise.all(programs.map((program) => program.stop()))
      await project?.down()
    },
  }
}

function createProject(
  machine: MachineParts,
  first: ComposeModel,
  images: ReadonlyMap<string, Image>,
): Project {
  let model = first
  const networks = createInnerNetworks(machine, model)
  const containers = new Map<string, Container>()
  const forwarders: ChildProcess[] = []

  const serviceOf = (name: string): ComposeService => {
    const service = model.services.get(name)
    if (service === undefined) throw new Error(`no service ${name}`)
    return service
  }
  const imageOf = (service: ComposeService): Image => {
    const image = images.get(service.image) ?? (/^redis:/.test(service.image) && machine.images.redis)
    if (!image) throw new Error(`no image ${service.image}`)
    return image
  }
  const start = async (service: ComposeService): Promise<Container> => {
    const image = imageOf(service)
    const place = await networks.place(service.name)
    return startContainer({
      ...containerOptions(service, image, await mountsOf(service)),
      network: place.namespace.path,
      hosts: await networks.hosts(service.name),
    })
  }
  const awaited = async (name: string, condition: string): Promise<void> => {
    const container = containers.get(name)
    if (container === undefined) throw new Error(`${name} has not been started`)
    if (condition === 'service_healthy') await container.healthy()
    if (condition === 'service_completed_successfully' && (await container.ended()) !== 0)
      throw new Error(`${name} failed:\n${container.output()}`)
  }
  const up = async () => {
    for (const service of inOrder(model)) {
      for (const [name, condition] of service.dependsOn) await awaited(name, condition)
      containers.set(service.name, await start(service))
      const { address } = await networks.place(service.name)
      for (const port of service.ports) {
        forwarders.push(await publish(machine.namespace, port, address))
      }
    }
    await Promise.all([...containers.values()].map((container) => container.healthy()))
  }
  const stopAll = async () => {
    for (const forwarder of forwarders.splice(0)) await end(forwarder)
    // what depends on another stops first
    for (const container of [...containers.values()].reverse()) await container.stop()
    containers.clear()
  }
  return {
    up,
    async recreate(changed) {
      await stopAll()
      model = changed
      await up()
    },
    async run(name, ...args) {
      const service = serviceOf(name)
      const command = args.length > 0 ? args : service.command
      const container = await start({ ...service, command, restart: 'no' })
      const code = await container.ended()
      return { code, stdout: container.output(), stderr: '' }
    },
    async restart(name) {
      await containers.get(name)?.stop()
      const container = await start(serviceOf(name))
      containers.set(name, container)
      await container.healthy()
    },
    container(name) {
      const container = containers.get(name)
      if (container === undefined) throw new Error(`${name} does not run`)
      return container
    },
    network: async (name) => (await networks.place(name)).namespace,
    address: async (name, network) => (await networks.place(name)).addresses.get(network) ?? '',
    down: stopAll,
  }
}

/** Everything but the network, as the file, the image and Docker's defaults have it. */
function containerOptions(
  service: ComposeService,
  image: Image,
  mounts: readonly ContainerMount[],
): Omit<ContainerOptions, 'network' | 'hosts'> {
  const kept = service.capDrop.includes('ALL')
    ? []
    : defaultCapabilities.filter((name) => !service.capDrop.includes(name))
  const command = service.command ?? (service.entrypoint === undefined ? image.command : [])
  return {
    name: service.name,
    image,
    args: [...(service.entrypoint ?? image.entrypoint), ...command],
    env: { ...image.env, ...service.environment },
    workingDir: service.workingDir ?? image.workingDir,
    user: service.user ?? image.user,
    readOnly: service.readOnly,
    tmpfs: service.tmpfs,
    mounts,
    capabilities: [...kept, ...service.capAdd],
    noNewPrivileges: service.noNewPrivileges,
    init: service.init,
    restart: service.restart,
    stopGraceMs: service.stopGraceMs,
    healthcheck: service.healthcheck ?? image.healthcheck,
  }
}

/** Services without profiles, each after those it depends on. */
function inOrder(model: ComposeModel): readonly ComposeService[] {
  const ordered = new Map<string, ComposeService>()
  const add = (name: string) => {
    const service = model.services.get(name)
    if (service === undefined) throw new Error(`no service ${name}`)
    for (const dependency of service.dependsOn.keys()) add(dependency)
    ordered.set(name, service)
  }
  for (const { name, profiles } of model.services.values()) if (profiles.length === 0) add(name)
  return [...ordered.values()]
}

/** Docker makes a folder, owned by root, where a short-form bind mount has nothing to mount. */
async function mountsOf({ mounts }: ComposeService): Promise<readonly ContainerMount[]> {
  for (const { source, create } of mounts) if (create) await mkdir(source, { recursive: true }).catch(isThere)
  return mounts
}

function isThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}

/** Where a service stands: a network stack of its own, and its address for published ports. */
interface Place {
  readonly namespace: NetworkNamespace
  /** By network. */
  readonly addresses: ReadonlyMap<string, string>
  /** In the network through which it is reached from outside. */
  readonly address: string
}

interface InnerNetworks {
  place(service: string): Promise<Place>
  /** `/etc/hosts` of a service: those with whom it shares a network and, unless all are internal, the world. */
  hosts(service: string): Promise<string>
}

/**
 * The networks of one compose project on a machine: each is a bridge, each service a namespace with a cable to every
 * bridge. The machine has an address on a bridge and forwards, unless the network is internal: then nobody but its
 * services is on it. (Docker keeps internal networks apart by packet filters; nothing can be reached that cannot be
 * reached here.)
 */
function createInnerNetworks(machine: MachineParts, model: ComposeModel): InnerNetworks {
  const { namespace, number } = machine
  const prefixes = new Map([...model.networks.keys()].map((name, index) => [name, `10.${number}.${index}`]))
  let bridges: Promise<void> | undefined
  const places = new Map<string, Promise<Place>>()
  const services = [...model.services.keys()]

  const networksOf = (service: string): readonly string[] => {
    const networks = model.services.get(service)?.networks ?? 'none'
    return networks === 'none' ? [] : networks
  }
  const isInternal = (network: string) => model.networks.get(network)?.internal === true
  const addressOf = (service: string, network: string) =>
    `${prefixes.get(network)}.${services.indexOf(service) + 2}`

  const makeBridges = () =>
    namespace.configure(
      [...prefixes].flatMap(([network, prefix]) => [
        `link add ${network} type bridge`,
        ...(isInternal(network) ? [] : [`addr add ${prefix}.1/24 dev ${network}`]),
        `link set ${network} up`,
      ]),
    )
  const makePlace = async (service: string): Promise<Place> => {
    bridges ??= makeBridges()
    await bridges
    const own = await createNetworkNamespace(`${machine.name}-${service}`)
    const networks = networksOf(service)
    const index = services.indexOf(service)
    await namespace.configure(
      networks.flatMap((network, card) => [
        `link add s${index}n${card} type veth peer name eth${card} netns ${own.name}`,
        `link set s${index}n${card} master ${network}`,
        `link set s${index}n${card} up`,
      ]),
    )
    await own.configure(
      networks.flatMap((network, card) => [
        `addr add ${addressOf(service, network)}/24 dev eth${card}`,
        `link set eth${card} up`,
      ]),
    )
    const outward = networks.find((network) => !isInternal(network))
    if (outward !== undefined) await own.configure([`route add default via ${prefixes.get(outward)}.1`])
    const addresses = new Map(networks.map((network) => [network, addressOf(service, network)]))
    return { namespace: own, addresses, address: addresses.get(outward ?? '') ?? '' }
  }
  const place = (service: string) => {
    const made = places.get(service) ?? makePlace(service)
    places.set(service, made)
    return made
  }
  return {
    place,
    async hosts(service) {
      const networks = networksOf(service)
      const neighbours = services.flatMap((other) =>
        networksOf(other)
          .filter((network) => networks.includes(network))
          .map((network) => [addressOf(other, network), other] as const),
      )
      const world = networks.some((network) => !isInternal(network)) ? machine.names : []
      return hostsFile([...neighbours, ...world.map(({ name, address }) => [address, name] as const)])
    },
  }
}

function hostsFile(entries: readonly (readonly [address: string, name: string])[]): string {
  return [['127.0.0.1', 'localhost'], ...entries].map(([address, name]) => `${address} ${name}\n`).join('')
}

const forwarder = join(import.meta.dirname, 'port-forwarder.ts')

async function publish(
  namespace: NetworkNamespace,
  port: PublishedPort,
  address: string,
): Promise<ChildProcess> {
  const target = [port.address, String(port.published), address, String(port.target)]
  const child = spawn(
    'ip',
    [
      'netns',
      'exec',
      namespace.name,
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      forwarder,
    ].concat(target),
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error(`port ${port.published} cannot be published`))),
  ])
  return child
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
