/** A server may ask for patience, but not for ever. */
const longestMs = 300_000

/** `Retry-After` in seconds (RFC 9110 §10.2.3), as milliseconds of at most five minutes; other forms are not looked at. */
export function retryAfterMs(header: string | readonly string[] | null | undefined): number | undefined {
  if (typeof header !== 'string' || !/^\d{1,9}$/.test(header)) return undefined
  return Math.min(Number(header) * 1_000, longestMs)
}
