interface Cookie {
  readonly value: string
  readonly path: string
  readonly secure: boolean
  /** Milliseconds since 1970, by the clock of this side; absent: until the jar goes. */
  readonly expires: number | undefined
}

/** Cookies of one server, after RFC 6265 §5, without what a single host does not need (Domain). */
export class CookieJar {
  readonly #cookies = new Map<string, Cookie>()
  readonly #now: () => Date

  constructor(now: () => Date) {
    this.#now = now
  }

  /** Takes the `Set-Cookie` fields of an answer from `url`. */
  store(setCookies: readonly string[], url: URL): void {
    for (const field of setCookies) this.#store(field, url)
  }

  /** The `Cookie` field for a request to `url`; undefined if there is none to send. */
  header(url: URL): string | undefined {
    const pairs = [...this.#cookies]
      .filter(([, cookie]) => this.#goesTo(cookie, url))
      .map(([name, cookie]) => `${name}=${cookie.value}`)
    return pairs.length === 0 ? undefined : pairs.join('; ')
  }

  #store(field: string, url: URL): void {
    const [pair = '', ...attributes] = field.split(';')
    const equals = pair.indexOf('=')
    if (equals < 1) return
    const named = new Map(attributes.map(attribute))
    const path = named.get('path')
    this.#cookies.set(pair.slice(0, equals).trim(), {
      value: pair.slice(equals + 1).trim(),
      path: path?.startsWith('/') ? path : defaultPath(url),
      secure: named.has('secure'),
      expires: this.#expiry(named),
    })
  }

  /** `Max-Age` takes precedence, since it does not depend on two clocks (RFC 6265 §5.3). */
  #expiry(named: ReadonlyMap<string, string>): number | undefined {
    const maxAge = named.get('max-age')
    if (maxAge !== undefined && /^-?[0-9]+$/.test(maxAge))
      return this.#now().getTime() + Number(maxAge) * 1000
    const date = Date.parse(named.get('expires') ?? '')
    return Number.isNaN(date) ? undefined : date
  }

  #goesTo(cookie: Cookie, url: URL): boolean {
    if (cookie.secure && url.protocol !== 'https:') return false
    if (cookie.expires !== undefined && cookie.expires <= this.#now().getTime()) return false
    const { path } = cookie
    return url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`)
  }
}

function attribute(text: string): [string, string] {
  const [name = '', value = ''] = text.split('=', 2)
  return [name.trim().toLowerCase(), value.trim()]
}

/** RFC 6265 §5.1.4: up to, and without, the last slash. */
function defaultPath(url: URL): string {
  const slash = url.pathname.lastIndexOf('/')
  return slash <= 0 ? '/' : url.pathname.slice(0, slash)
}
