import { freePort } from '@passport-kbs/testing/redis'
import type { ConfigTable, Organisation } from '../organisation.ts'
import type { LogLine, Program, ProgramName } from '../program.ts'

/** One of several equal programs. Its successors have its addresses. */
export interface Replica {
  /** E.g. `kbs-attest 1`. */
  readonly name: string
  /** Of its HTTP listener. */
  readonly url: string
  /** `host:port` of its listeners, HTTP first. */
  readonly addresses: readonly [string, ...string[]]
  /** The process that runs, or ran last. */
  readonly program: Program
  /** All it has had, dead ones included. */
  readonly programs: readonly Program[]
  /** Starts a successor; resolves when it listens. */
  start(): Promise<void>
}

/** Two of a kind. */
export type Pair = readonly [Replica, Replica]

/**
 * Prepares two equal programs of an organisation; neither runs yet.
 * @param listeners addresses that each of them listens on
 * @param config of one, without `http_server`
 */
export async function preparePair(
  organisation: Organisation,
  program: ProgramName,
  { listeners = 1, config }: { readonly listeners?: number; readonly config: ReplicaConfig },
): Promise<Pair> {
  const prepare = async (number: number): Promise<Replica> => {
    const http = `127.0.0.1:${await freePort()}`
    const others: string[] = []
    while (others.length + 1 < listeners) others.push(`127.0.0.1:${await freePort()}`)
    return prepareReplica(organisation, program, number, [http, ...others], config)
  }
  return [await prepare(1), await prepare(2)]
}

type ReplicaConfig = (addresses: readonly string[]) => ConfigTable

function prepareReplica(
  organisation: Organisation,
  program: ProgramName,
  number: number,
  addresses: readonly [string, ...string[]],
  config: ReplicaConfig,
): Replica {
  const name = `${program} ${number}`
  const programs: Program[] = []
  return {
    name,
    url: `http://${addresses[0]}`,
    addresses,
    programs,
    get program() {
      const latest = programs.at(-1)
      if (latest === undefined) throw new Error(`${name} has not been started`)
      return latest
    },
    async start() {
      const whole = { ...config(addresses), http_server: httpServer(addresses[0]) }
      programs.push(await organisation.start(program, whole, { env: { RUST_LOG: 'info' } }))
    },
  }
}

/** Without limits per client: behind a plain TCP balancer all clients have its address. */
function httpServer(address: string): ConfigTable {
  const unlimited = { per_second: 0 }
  return {
    sockets: [address],
    insecure_http: true,
    rate_limits: { auth: unlimited, attest: unlimited, resource: unlimited, admin: unlimited },
  }
}

/** Starts them one after the other, for together they would take each other's time. */
export async function startAll(replicas: readonly Replica[]): Promise<void> {
  for (const replica of replicas) await replica.start()
}

/** Lines of all processes that these replicas have had. */
export function trailOf(replicas: readonly Replica[]): readonly LogLine[] {
  return replicas.flatMap(({ programs }) => programs.flatMap((program) => program.log()))
}
