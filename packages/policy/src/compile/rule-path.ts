/** Paths below `data` and their spelling. */
import { canonicalText, type Value } from '../values/value.ts'

export { type MapKey, mapKey, type Value } from '../values/value.ts'

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** `data.a["b-c"][1]` */
export function toDisplayPath(path: readonly Value[]): string {
  let text = 'data'
  for (const part of path) {
    text += typeof part === 'string' && NAME.test(part) ? `.${part}` : `[${canonicalText(part)}]`
  }
  return text
}

/** Reads `data.a["b-c"][1]`; undefined when the text is no such path. */
export function parseDisplayPath(text: string): Value[] | undefined {
  if (!text.startsWith('data')) return undefined
  const path: Value[] = []
  const part = /\.([A-Za-z_][A-Za-z0-9_]*)|\[("(?:[^"\\]|\\.)*"|-?[0-9]+|true|false|null)\]/y
  let position = 4
  while (position < text.length) {
    part.lastIndex = position
    const match = part.exec(text)
    if (!match) return undefined
    try {
      path.push(match[1] ?? (JSON.parse(match[2] as string) as Value))
    } catch {
      return undefined
    }
    position = part.lastIndex
  }
  return path
}
