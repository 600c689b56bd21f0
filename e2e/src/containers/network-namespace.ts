import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { mustRun } from './process.ts'

/** Where `ip netns` keeps its names. */
const folder = '/run/netns'

/** `kbse2e-<process id of the owner>-<count>-<name>` */
const ours = /^kbse2e-(\d+)-/

/** A network stack of its own, with a name. */
export interface NetworkNamespace {
  readonly name: string
  /** To be entered by. */
  readonly path: string
  /** Lines as `ip` takes them: `link add …`, `route add …`. */
  configure(lines: readonly string[]): Promise<void>
}

let count = 0

/** Makes a network namespace with nothing but loopback in it; also sets whether it forwards what is not for itself. */
export async function createNetworkNamespace(
  purpose: string,
  options: { readonly forwards?: boolean } = {},
): Promise<NetworkNamespace> {
  count += 1
  const name = `kbse2e-${process.pid}-${count}-${purpose}`
  await mustRun('ip', ['netns', 'add', name])
  const configure: NetworkNamespace['configure'] = async (lines) => {
    await mustRun('ip', ['-n', name, '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }
  await configure(['link set lo up'])
  if (options.forwards) {
    await mustRun('ip', ['netns', 'exec', name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
  }
  return { name, path: `${folder}/${name}`, configure }
}

/** Ends every process in namespaces that this process has made, and removes them. */
export async function removeNetworkNamespaces(): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    removeNow((owner) => owner === process.pid)
    if (namesOf((owner) => owner === process.pid).length === 0) return
    await delay(20)
  }
}

/** Removes what runs that were killed have left: namespaces whose owner is no more, and the processes in them. */
export function removeLeftovers(): void {
  removeNow((owner) => !existsSync(`/proc/${owner}`))
}

process.once('exit', () => removeNow((owner) => owner === process.pid))

function removeNow(isWanted: (owner: number) => boolean): void {
  for (const name of namesOf(isWanted)) {
    const { stdout } = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8', timeout: 5_000 })
    for (const pid of (stdout ?? '').split('\n').filter((line) => line !== '')) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // it has ended by itself
      }
    }
    spawnSync('ip', ['netns', 'delete', name], { timeout: 5_000 })
  }
}

function namesOf(isWanted: (owner: number) => boolean): readonly string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder).filter((name) => {
    const owner = ours.exec(name)?.[1]
    return owner !== undefined && isWanted(Number(owner))
  })
}
