import { problems } from '@passport-kbs/protocol'
import type { Context } from 'hono'

/** Where a request goes, as it is executed. */
export interface RequestPath {
  /** What follows `/kbs/v0/`, decoded and then split; empty segments are kept (spec 01 §1.1). */
  readonly segments: readonly string[]
  /** The last of repeated names wins. Null prototype. */
  readonly query: Readonly<Record<string, string>>
  /** `/kbs/v0/` and the segments joined by `/`: what ACLs are matched against. */
  readonly path: string
}

const prefix = '/kbs/v0/'

/**
 * The path as the client sent it, without query, not normalised. For `new Hono({ getPath: rawRequestPath })`, so that
 * routing sees what `requestPath` sees: the URL parser would resolve `..` and `%2e%2e` before.
 */
export function rawRequestPath(request: Request, options?: { env?: unknown }): string {
  return splitTarget(requestTarget(request, options?.env)).rawPath
}

/**
 * Decodes the path fully, then splits it (spec 01 §1.1): `%2F` separates, `%2E%2E` is the segment `..`.
 * @throws KbsProblem 404 when it is not below `/kbs/v0/`; 400 for an encoding that is not UTF-8, or a control character
 */
export function requestPath(c: Context): RequestPath {
  const { rawPath, rawQuery } = splitTarget(requestTarget(c.req.raw, c.env))
  if (!rawPath.startsWith(prefix)) throw problems.notFound()
  const tail = decodePercent(rawPath.slice(prefix.length), 'path')
  if (hasControlCharacter(tail)) throw problems.malformedRequest('The path contains control characters')
  return { segments: tail.split('/'), query: parseQuery(rawQuery), path: prefix + tail }
}

/** The request target of the request line; in tests without a socket, path and query of the URL. */
function requestTarget(request: Request, env: unknown): string {
  const incoming: unknown = typeof env === 'object' && env !== null ? Reflect.get(env, 'incoming') : undefined
  const target: unknown =
    typeof incoming === 'object' && incoming !== null ? Reflect.get(incoming, 'url') : undefined
  return typeof target === 'string' ? target : request.url
}

function splitTarget(target: string): { readonly rawPath: string; readonly rawQuery: string } {
  // absolute form (RFC 9112 §3.2.2), which also is how Request.url looks
  const origin = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(target)?.[0] ?? ''
  const [local = ''] = target.slice(origin.length).split('#', 1)
  const mark = local.indexOf('?')
  const rawPath = mark === -1 ? local : local.slice(0, mark)
  return { rawPath: rawPath === '' ? '/' : rawPath, rawQuery: mark === -1 ? '' : local.slice(mark + 1) }
}

function decodePercent(text: string, what: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw problems.malformedRequest(`The ${what} is not valid percent-encoded UTF-8`, cause)
  }
}

/** Form-urlencoded, flat; a control character or bad encoding is a 400. */
function parseQuery(rawQuery: string): Readonly<Record<string, string>> {
  const query: Record<string, string> = Object.create(null)
  for (const pair of rawQuery.split('&')) {
    if (pair === '') continue
    const [name = '', ...value] = pair.replaceAll('+', ' ').split('=')
    const key = decodePercent(name, 'query')
    const text = decodePercent(value.join('='), 'query')
    if (hasControlCharacter(key)) throw problems.malformedRequest('The query contains control characters')
    query[key] = text
  }
  return query
}

/** C0, DEL and C1. */
function hasControlCharacter(text: string): boolean {
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true
  }
  return false
}
