/**
 * The raw text of parts of a JSON document. What Intel signs is text: parsed and written again it could differ.
 * All functions take text that `parseJson` has accepted already.
 */

/** Tokens: strings, punctuation, and runs of anything else. */
const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g

/** The text of each member of an object by its name, or of each entry of an array by its index; empty for a scalar. */
export function childSlices(text: string): Map<string, string> {
  const slices = new Map<string, string>()
  const isArray = text.trimStart().startsWith('[')
  let depth = 0
  let name: string | undefined
  let from = 0
  for (const { 0: token, index } of text.matchAll(tokens)) {
    const closing = token === '}' || token === ']'
    if (depth === 1 && (token === ',' || closing)) {
      const slice = text.slice(from, index).trim()
      if (slice !== '') slices.set(isArray ? String(slices.size) : (name ?? ''), slice)
      name = undefined
      from = index + 1
    } else if (depth === 1 && token === ':') {
      name = JSON.parse(text.slice(from, index)) as string
      from = index + 1
    }
    if (token === '{' || token === '[') {
      depth += 1
      if (depth === 1) from = index + 1
    }
    if (closing) depth -= 1
  }
  return slices
}

/** The same text without white space outside strings. */
export function withoutWhiteSpace(json: string): string {
  return Array.from(json.matchAll(tokens), ([token]) => token).join('')
}
