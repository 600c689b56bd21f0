import type { Image } from './image.ts'
import { createMachine, type Machine } from './machine.ts'
import { createNetworkNamespace, removeLeftovers, removeNetworkNamespaces } from './network-namespace.ts'

/** A network with machines on it, apart from every network of this one. */
export interface Wire extends AsyncDisposable {
  /** Adds a machine, known to the others by these names from now on. */
  addMachine(name: string, publicNames?: readonly string[]): Promise<Machine>
  /** Pulls a machine's plug. */
  cut(machine: Machine): Promise<void>
  mend(machine: Machine): Promise<void>
  /** Ends everything that runs on it. */
  close(): Promise<void>
}

/** What the machines on a wire know of each other, in place of a public name server. */
export interface PublicName {
  readonly name: string
  readonly address: string
}

/** Addresses are of TEST-NET-1 (RFC 5737), the machine's own networks below 10/8; none of them leaves the wire. */
export async function createWire(images: { readonly redis: Image }): Promise<Wire> {
  removeLeftovers()
  const namespace = await createNetworkNamespace('wire')
  await namespace.configure(['link add wire type bridge', 'link set wire up'])
  const machines: Machine[] = []
  const names: PublicName[] = []

  const add = async (name: string, publicNames: readonly string[]): Promise<Machine> => {
    const number = machines.length + 1
    const address = `192.0.2.${number}`
    const own = await createNetworkNamespace(name, { forwards: true })
    await namespace.configure([
      `link add port${number} type veth peer name eth0 netns ${own.name}`,
      `link set port${number} master wire`,
      `link set port${number} up`,
    ])
    await own.configure([`addr add ${address}/24 dev eth0`, 'link set eth0 up'])
    for (const publicName of publicNames) names.push({ name: publicName, address })
    const machine = createMachine({ name, number, address, namespace: own, names, images })
    // Everybody knows the way to everybody's inner networks: whether one can be reached is the inner network's affair.
    for (const other of machines) {
      await other.namespace.configure([`route add 10.${number}.0.0/16 via ${address}`])
      await own.configure([`route add 10.${other.number}.0.0/16 via ${other.address}`])
    }
    machines.push(machine)
    return machine
  }
  // one after the other, for each gets a number and learns the ways to those before it
  let last: Promise<unknown> = Promise.resolve()
  const close = async () => {
    await Promise.all(machines.map((machine) => machine.close()))
    await removeNetworkNamespaces()
  }
  return {
    addMachine(name, publicNames = []) {
      const added = last.then(() => add(name, publicNames))
      last = added.catch(() => undefined)
      return added
    },
    cut: (machine) => namespace.configure([`link set port${machine.number} down`]),
    mend: (machine) => namespace.configure([`link set port${machine.number} up`]),
    close,
    [Symbol.asyncDispose]: close,
  }
}
