/** A base address as guests take it: slashes at the end do not count. */
export function baseUrl(kbsUrl: string): string {
  return kbsUrl.replace(/\/+$/, '')
}

/**
 * Where a resource is (spec 01 §9.1).
 * @param resource a path such as `repository/type/tag`, or a URI: `kbs:///a/b/c?query`, `kbs+plugin:///a/b`. The host of
 *   the URI is ignored: the configured server is asked.
 * @throws TypeError if it is neither.
 */
export function resourceUrl(kbsUrl: string, resource: string): URL {
  const uri = /^kbs(?:\+([A-Za-z0-9._-]+))?:\/\/[^/]*\/(.*)$/s.exec(resource)
  if (uri === null && resource.includes('://')) throw new TypeError('not a kbs:// URI')
  const plugin = uri?.[1] ?? 'resource'
  const path = (uri?.[2] ?? resource).replace(/^\/+/, '')
  return new URL(`${baseUrl(kbsUrl)}/kbs/v0/${plugin}/${path}`)
}
