import { KbsProblem, problems } from '@passport-kbs/protocol'
import type { Context, Hono } from 'hono'
import { requestPath } from './request-path.ts'
import type { ServiceEnv } from './service-env.ts'

export type KbsMethod = 'GET' | 'POST' | 'PUT' | 'DELETE'

/** A request below `/kbs/v0/`, decoded once; what is authorised is what is executed. */
export interface KbsRequest {
  readonly method: KbsMethod
  /** All decoded segments; the first names the verb or plugin. */
  readonly segments: readonly string[]
  readonly query: Readonly<Record<string, string>>
  readonly requestId: string
  header(name: string): string | undefined
  /** The raw body, already bounded by the listener's limit. */
  body(): Promise<Uint8Array>
}

/**
 * A built-in verb (with a method) or a plugin (every method), matched by the first path segment only (spec 01 §1.2). A
 * verb wins over a plugin of the same name.
 */
export interface KbsRoute {
  readonly name: string
  readonly method?: KbsMethod
  handle(request: KbsRequest): Promise<Response>
}

const methods: readonly KbsMethod[] = ['GET', 'POST', 'PUT', 'DELETE']

/** Serves `/kbs/v0/…`: the path is decoded, then split, then matched. */
export function mountKbsRoutes(app: Hono<ServiceEnv>, routes: readonly KbsRoute[]): void {
  const verbs = new Map(routes.filter((r) => r.method).map((r) => [`${r.method} ${r.name}`, r]))
  const plugins = new Map(routes.filter((r) => !r.method).map((r) => [r.name, r]))

  app.all('/kbs/v0/*', async (c) => {
    const method = methods.find((m) => m === c.req.method)
    if (method === undefined) return methodNotAllowed(c)
    const { segments, query } = requestPath(c)
    const name = segments[0] ?? ''
    const route = verbs.get(`${method} ${name}`) ?? plugins.get(name)
    if (!route) throw problems.pluginNotFound(name)
    c.set('plugin', name)
    return route.handle({
      method,
      segments,
      query,
      requestId: c.get('requestId'),
      header: (header) => c.req.header(header),
      body: () => wholeBody(c),
    })
  })
}

/** A client that goes away in the middle is at fault, not the server. @throws KbsProblem */
export async function wholeBody(c: Context<ServiceEnv>): Promise<Uint8Array> {
  try {
    return new Uint8Array(await c.req.arrayBuffer())
  } catch (cause) {
    if (cause instanceof KbsProblem) throw cause
    throw problems.malformedRequest('The body was not received completely', cause)
  }
}

function methodNotAllowed(c: Context): Response {
  return c.body(null, 405, { allow: methods.join(', ') })
}

/** 200 with a JSON body that no cache keeps. */
export function jsonAnswer(body: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), {
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  })
}

/** 200 without content, as `kbs-client` expects of a successful change. */
export function emptyAnswer(contentType?: string): Response {
  return new Response('', {
    headers: { 'cache-control': 'no-store', ...(contentType ? { 'content-type': contentType } : {}) },
  })
}
