/** `<repository>/<type>/<tag>`: the name of a secret (spec 01 §5.1). */
export interface ResourcePath {
  readonly repository: string
  readonly type: string
  readonly tag: string
}

const segment = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$/

/**
 * Reads a resource name from decoded path segments: exactly three, ASCII letters, digits, `_`, `-` and, not in first
 * place, `.`; so no name can climb out of its folder. Anything else is `undefined`.
 */
export function parseResourcePath(segments: readonly string[]): ResourcePath | undefined {
  const [repository, type, tag, ...rest] = segments
  if (repository === undefined || type === undefined || tag === undefined || rest.length > 0) return undefined
  return [repository, type, tag].every((s) => segment.test(s)) ? { repository, type, tag } : undefined
}

/** The storage key in namespace `repository`. */
export function resourceKey(path: ResourcePath): string {
  return `${path.repository}/${path.type}/${path.tag}`
}
