import { isJsonObject, type JsonValue } from './json.ts'

/**
 * The value at a JSON pointer (RFC 6901, escapes `~1` and `~0`), or undefined where there is none. Only own members
 * count, so that values made by other parsers are safe too.
 * @throws TypeError if the pointer itself is malformed.
 */
export function resolvePointer(value: JsonValue, pointer: string): JsonValue | undefined {
  let found: JsonValue | undefined = value
  for (const token of pointerTokens(pointer)) {
    if (Array.isArray(found)) found = /^(?:0|[1-9][0-9]{0,9})$/.test(token) ? found[Number(token)] : undefined
    else if (isJsonObject(found)) found = Object.hasOwn(found, token) ? found[token] : undefined
    else return undefined
  }
  return found
}

/** The unescaped reference tokens of a pointer. */
function pointerTokens(pointer: string): string[] {
  if (pointer === '') return []
  if (!pointer.startsWith('/') || /~(?![01])/.test(pointer)) throw new TypeError('not a JSON pointer')
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}
