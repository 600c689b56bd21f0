/** The handshake's cookie (spec 01 §2.9). */
const name = 'kbs-session-id'

/** The session id a request carries, if it looks like one of ours; a malformed one never reaches the store. */
export function readSessionCookie(header: string | null | undefined): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const [key, value] = pair.trim().split('=', 2)
    if (key === name && value !== undefined && /^[0-9a-f]{32}$/.test(value)) return value
  }
  return undefined
}

/**
 * `Set-Cookie` text. `Max-Age` serves guests whose clock runs ahead; `Expires` those that know nothing else. `Secure`
 * only under TLS, since guests also speak plain HTTP inside a cluster.
 */
export function sessionCookie(id: string, expiresAt: Date, now: Date, secure: boolean): string {
  const seconds = Math.max(0, Math.floor((expiresAt.getTime() - now.getTime()) / 1000))
  const attributes = [
    `${name}=${id}`,
    `Expires=${expiresAt.toUTCString()}`,
    `Max-Age=${seconds}`,
    'Path=/kbs/v0',
    'HttpOnly',
    'SameSite=Strict',
  ]
  if (secure) attributes.push('Secure')
  return attributes.join('; ')
}
