import { decodeBase64Url, decodeUtf8, isJsonObject, type JsonObject, parseJson } from '@passport-kbs/protocol'
import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

/** Which policy of a server. */
export interface PolicyChoice {
  /** An attestation policy of KBS1; else the resource policy of KBS2. */
  readonly attestation?: boolean
  /** Of the attestation policy. */
  readonly id?: string
}

export interface PolicyGetOptions extends AdminOptions, PolicyChoice {
  /** An earlier version, by its hash. */
  readonly sha384?: string
}

/** Prints a policy of a server; its hash goes to stderr. */
export async function policyGet(terminal: Terminal, options: PolicyGetOptions): Promise<void> {
  const { text, sha384 } = await fetchPolicy(terminal, options)
  terminal.err(`sha384 ${sha384}`)
  terminal.out(text.replace(/\n$/, ''))
}

/** Fetches a policy in force, or an earlier version. @throws CommandFailed */
export async function fetchPolicy(
  terminal: Terminal,
  options: PolicyGetOptions,
): Promise<{ text: string; sha384: string }> {
  const version = options.sha384 === undefined ? '' : `/history/${encodeURIComponent(options.sha384)}`
  const answer = await getJson(terminal, options, `${policyPath(options)}${version}`)
  const { policy, sha384 } = answer
  if (typeof policy !== 'string' || typeof sha384 !== 'string')
    throw new CommandFailed('the server answers without a policy: it may be too old for this command')
  return { text: decodeUtf8(decodeBase64Url(policy)), sha384 }
}

/** Path below `/kbs/v0/`. */
export function policyPath({ attestation, id }: PolicyChoice): string {
  if (!attestation) return 'resource-policy/resource-policy'
  return `attestation-policy/${encodeURIComponent(id ?? 'default_cpu')}`
}

export async function getJson(terminal: Terminal, options: AdminOptions, path: string): Promise<JsonObject> {
  const answer = parseJson(await sendAdminRequest(terminal, options, { method: 'GET', path }))
  if (!isJsonObject(answer))
    throw new CommandFailed('the server answers no object: it may be too old for this command')
  return answer
}
