import { setTimeout as delay } from 'node:timers/promises'
import type { Container } from './container.ts'
import type { GuestRequests } from './guest-program.ts'
import { type Image, nodeImage, nodeProgram } from './image.ts'
import type { Machine } from './machine.ts'
import type { NetworkNamespace } from './network-namespace.ts'

/** `guest-program.ts` on a machine: what it is asked happens there, in that machine's network. */
export interface Guest {
  ask<Name extends keyof GuestRequests>(
    name: Name,
    parameters: GuestRequests[Name][0],
  ): Promise<GuestRequests[Name][1]>
}

const root = new URL('../../..', import.meta.url).pathname
let bareImage: Promise<Image> | undefined
const answerTimeoutMs = 20_000

export async function startGuest(machine: Machine, network?: { readonly path: string }): Promise<Guest> {
  const container = await machine.start({
    name: 'guest',
    image: await nodeImage(),
    args: [
      '/nodejs/bin/node',
      '--disable-warning=ExperimentalWarning',
      'e2e/src/containers/guest-program.ts',
    ],
    workingDir: root,
    mounts: [{ source: root, target: root, readOnly: true }],
    ...(network === undefined ? {} : { network: network.path }),
  })
  let asked = 0
  return {
    async ask(name, parameters) {
      asked += 1
      const id = asked
      container.write(`${JSON.stringify({ id, name, parameters })}\n`)
      return answerTo(container, id)
    },
  }
}

/**
 * Whether a TCP connection can be made from a machine, or from one of its networks: `connected`, or the error's code.
 */
export async function connectFrom(
  machine: Machine,
  host: string,
  port: number,
  network: NetworkNamespace = machine.namespace,
): Promise<string> {
  const probe = await startSource(machine, 'port-probe', [host, String(port)], network)
  await probe.ended()
  return probe.output().trim()
}

/** A program of this folder, in the bare image, with this checkout in its place. */
async function startSource(
  machine: Machine,
  name: string,
  args: readonly string[],
  network = machine.namespace,
): Promise<Container> {
  bareImage ??= nodeImage()
  return machine.start({
    name,
    image: await bareImage,
    args: [nodeProgram, '--disable-warning=ExperimentalWarning', `e2e/src/containers/${name}.ts`, ...args],
    workingDir: root,
    mounts: [{ source: root, target: root, readOnly: true }],
    network: network.path,
  })
}

async function answerTo<T>(container: Container, id: number): Promise<T> {
  const deadline = performance.now() + answerTimeoutMs
  while (container.running() && performance.now() < deadline) {
    const line = container.log().find((line) => line.id === id)
    if (line !== undefined && 'answer' in line) return line.answer as T
    if (line !== undefined) throw new Error(String(line.failure))
    await delay(10)
  }
  throw new Error(`the guest does not answer:\n${container.output()}`)
}
