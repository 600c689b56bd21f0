import { baseUrl, createConnection, GuestError } from '@passport-kbs/guest-client'
import { type JsonValue, stringifyJson } from '@passport-kbs/protocol'
import { findAdminToken } from './admin-token.ts'
import { readText } from './files.ts'
import { CommandFailed, type Terminal } from './terminal.ts'

/** The options of every command that talks to a server. */
export interface ServerOptions {
  readonly url: string
  readonly certFile?: string
}

export interface AdminOptions extends ServerOptions {
  readonly adminTokenFile?: string
}

export interface AdminRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Below `/kbs/v0/`. */
  readonly path: string
  /** Sent as JSON. */
  readonly json?: JsonValue
  /** Sent as it is. */
  readonly bytes?: Uint8Array<ArrayBuffer>
}

const userAgent = 'kbsctl/0.1.0'

/**
 * Sends one request of an administrator.
 * @returns the text of the answer.
 * @throws CommandFailed with Trustee's words for any status but 200; its tests search for them.
 */
export async function sendAdminRequest(
  terminal: Terminal,
  options: AdminOptions,
  { method, path, json, bytes }: AdminRequest,
): Promise<string> {
  const token = await findAdminToken(terminal, options.adminTokenFile)
  const connection = createConnection({ userAgent, ...(await trustOf(terminal, options)) })
  const body = json === undefined ? bytes : stringifyJson(json)
  const answer = await connection
    .send({
      url: new URL(`${baseUrl(options.url)}/kbs/v0/${path}`),
      method,
      headers: {
        'content-type': bytes === undefined ? 'application/json' : 'application/octet-stream',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body }),
    })
    .catch((error: unknown) => {
      throw error instanceof GuestError ? new CommandFailed(error.message, { cause: error }) : error
    })
  const text = new TextDecoder().decode(answer.body)
  if (answer.status !== 200) throw new CommandFailed(`Request Failed, Response: ${text}`)
  return text
}

/** The roots to trust for `https:`, if a file names more than Node has. */
export async function trustOf(terminal: Terminal, { certFile }: ServerOptions): Promise<{ ca?: string }> {
  return certFile === undefined ? {} : { ca: await readText(terminal, certFile) }
}
