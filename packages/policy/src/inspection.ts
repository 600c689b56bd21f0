/** What conformance programs look at below the engine's API: the lexer's tokens and the parser's verdict. */
import type { PolicyDiagnostic } from './errors.ts'
import { COMPILE_LIMITS } from './limits.ts'
import type { Dialect } from './syntax/ast.ts'
import { tokenize } from './syntax/lexer.ts'
import { parseModule } from './syntax/parser.ts'
import { Source } from './syntax/source.ts'

/**
 * Spellings of all tokens as upstream's lexer draws their borders: a minus that touches a number belongs to
 * it, `set(` before `)` is one token, strings come as they are written without their quotes.
 * Throws on text that has no tokens.
 */
export function tokenSpellings(text: string): string[] {
  const source = new Source('tokens', text)
  const tokens = tokenize(source)
  const spellings: string[] = []
  for (let i = 0; i < tokens.length; i++) {
    const [token, next, afterNext] = tokens.slice(i, i + 3)
    if (!token) break
    const touches = next !== undefined && !next.spaceBefore
    if (token.kind === 'string') spellings.push(source.text.slice(token.start + 1, token.end - 1))
    else if (token.text === '-' && next?.kind === 'number' && touches) {
      spellings.push(`-${next.text}`)
      i++
    } else if (token.text === 'set' && next?.text === '(' && touches && afterNext?.text === ')') {
      spellings.push('set(')
      i++
    } else spellings.push(token.text)
  }
  return spellings
}

/** Findings of the parser alone; none means that the text is a module. */
export function syntaxErrors(text: string, dialect: Dialect): readonly PolicyDiagnostic[] {
  const parsed = parseModule(new Source('module', text), dialect, COMPILE_LIMITS)
  return 'errors' in parsed ? parsed.errors : []
}
