import { RE2JS } from 're2js'

/** An ACL expression that cannot be used, with what to do. */
export class AclError extends Error {
  override readonly name = 'AclError'
  readonly remedy: string
  constructor(message: string, remedy: string, options?: { cause?: unknown }) {
    super(message, options)
    this.remedy = remedy
  }
}

/** Says whether a decoded path, `/kbs/v0/…`, is covered. Linear in the length of the path. */
export type PathMatcher = (path: string) => boolean

/**
 * Compiles `allowed_endpoints` (spec 01 §6.2). Trustee looks only at the first and last characters, so `^/kbs/a|.*$`
 * passes there and covers everything. Here the expression must match the whole path, and an alternative outside a group
 * is refused because neither anchor would hold for all of it.
 * @throws AclError
 */
export function compileAcl(expression: string): PathMatcher {
  if (!expression.startsWith('^/kbs') || !expression.endsWith('$')) {
    throw new AclError('must begin with "^/kbs" and end with "$"', `Anchor it, e.g. "^/kbs/v0/resource/.+$"`)
  }
  if (hasOpenAlternative(expression)) {
    throw new AclError(
      'has an alternative outside a group',
      'Group it, e.g. "^/kbs/v0/(resource/a|resource-policy)$"',
    )
  }
  try {
    const compiled = RE2JS.compile(expression)
    return (path) => compiled.matches(path)
  } catch (cause) {
    throw new AclError(
      'is no RE2 regular expression',
      'Correct it; look-around and back references do not exist',
      { cause },
    )
  }
}

/** Whether a `|` stands outside every group, character class, escape and quotation. In doubt it says yes. */
function hasOpenAlternative(expression: string): boolean {
  let depth = 0
  let index = 0
  while (index < expression.length) {
    const character = expression[index]
    if (character === '|' && depth === 0) return true
    if (character === '(') depth++
    if (character === ')') depth--
    index =
      character === '['
        ? endOfClass(expression, index)
        : character === '\\'
          ? endOfEscape(expression, index)
          : index + 1
  }
  return false
}

/** Index after the class that opens at `start`; a `]` in first place is an ordinary character. */
function endOfClass(expression: string, start: number): number {
  let index = start + (expression[start + 1] === '^' ? 2 : 1)
  if (expression[index] === ']') index++
  while (index < expression.length && expression[index] !== ']') index += expression[index] === '\\' ? 2 : 1
  return index + 1
}

/** Index after an escape, or after a quotation `\Q…\E`. */
function endOfEscape(expression: string, start: number): number {
  if (expression[start + 1] !== 'Q') return start + 2
  const end = expression.indexOf('\\E', start + 2)
  return end === -1 ? expression.length : end + 2
}
