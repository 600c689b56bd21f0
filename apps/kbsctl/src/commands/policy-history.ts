import { isJsonObject, type JsonObject, stringifyJson } from '@passport-kbs/protocol'
import type { AdminOptions } from '../admin-client.ts'
import type { Terminal } from '../terminal.ts'
import { getJson, type PolicyChoice, policyPath } from './policy-get.ts'

export interface PolicyHistoryOptions extends AdminOptions, PolicyChoice {
  readonly json?: boolean
}

/** Prints the versions of a policy, the newest first; `*` is in force. */
export async function policyHistory(terminal: Terminal, options: PolicyHistoryOptions): Promise<void> {
  const answer = await getJson(terminal, options, `${policyPath(options)}/history`)
  if (options.json) {
    terminal.out(stringifyJson(answer))
    return
  }
  const versions = Array.isArray(answer.versions) ? answer.versions.filter(isJsonObject) : []
  const newestActive = versions.findIndex(({ sha384 }) => sha384 === answer.active)
  for (const [i, version] of versions.entries()) terminal.out(versionLine(version, i === newestActive))
  if (newestActive < 0) terminal.err(`in force, without a record: ${String(answer.active)}`)
}

function versionLine({ sha384, set_at: at, set_by: by, origin }: JsonObject, isActive: boolean): string {
  const who = typeof by === 'string' ? ` by ${by}` : ''
  return `${isActive ? '*' : ' '} ${String(sha384)} ${String(at)} ${String(origin)}${who}`
}
