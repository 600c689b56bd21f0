import { TLSSocket } from 'node:tls'
import { type JsonValue, parseJson } from '@passport-kbs/protocol'
import { type ServiceEnv, wholeBody } from '@passport-kbs/service'
import type { Context } from 'hono'
import type { z } from 'zod'
import type { Callers, Credentials, Scope } from '../callers.ts'
import type { Call } from '../operations.ts'
import { malformed } from '../problems.ts'

/** Who calls and under which id; before the body is read. @throws KbsProblem 401 or 403 */
export async function restCall(callers: Callers, c: Context<ServiceEnv>, scope: Scope): Promise<Call> {
  return { caller: await callers.authorize(credentialsOf(c), scope), requestId: c.get('requestId') }
}

function credentialsOf(c: Context<ServiceEnv>): Credentials {
  const socket = c.env.incoming?.socket
  const certificate =
    socket instanceof TLSSocket && socket.authorized ? socket.getPeerCertificate().raw : undefined
  return { authorization: c.req.header('authorization'), certificate }
}

/**
 * The JSON body in the shape of `schema`. Another Content-Type is refused, so that no web page can make a browser on
 * this machine send one without asking first.
 * @throws KbsProblem 400, naming the member
 */
export async function readBody<T>(c: Context<ServiceEnv>, schema: z.ZodType<T>): Promise<T> {
  if (!/^application\/json *(?:;|$)/i.test(c.req.header('content-type') ?? ''))
    throw malformed('Content-Type: not application/json')
  const result = schema.safeParse(await readJson(c))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw malformed(`${issue?.path.join('.') || 'the body'}: ${issue?.message ?? 'not understood'}`)
}

async function readJson(c: Context<ServiceEnv>): Promise<JsonValue> {
  const body = await wholeBody(c)
  try {
    return parseJson(body)
  } catch (cause) {
    throw malformed('the body is not JSON', cause)
  }
}

export const noStore = { 'cache-control': 'no-store' } as const
export const plainText = { ...noStore, 'content-type': 'text/plain; charset=utf-8' } as const
