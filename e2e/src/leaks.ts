/** Secret things, by what they are. Values are in no message of this module. */
export class Secrets {
  readonly #values = new Map<string, string>()

  /** Remembers a text that nobody may write anywhere. Short ones would be found by accident. */
  add(what: string, value: string): void {
    if (value.length < 12) throw new RangeError(`${what} is too short to be looked for`)
    this.#values.set(value, what)
  }

  /** Bytes, in each spelling in which they could be written. */
  addBytes(what: string, bytes: Uint8Array): void {
    const buffer = Buffer.from(bytes)
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      this.add(`${what} in ${encoding}`, buffer.toString(encoding).replace(/=+$/, ''))
    }
    this.add(`${what} as numbers`, buffer.subarray(0, 16).join(','))
  }

  /** A JWT: the whole and each of its parts. */
  addToken(what: string, token: string): void {
    const [header = '', payload = '', signature = ''] = token.split('.')
    this.add(`header of ${what}`, header)
    this.add(`payload of ${what}`, payload)
    this.add(`signature of ${what}`, signature)
  }

  /** A private key in PEM: each of its lines. */
  addPem(what: string, pem: string): void {
    for (const line of pem.split('\n')) if (line.length >= 12 && !line.startsWith('-')) this.add(what, line)
  }

  get size(): number {
    return this.#values.size
  }

  /** What of it a text shows. */
  foundIn(text: string): readonly string[] {
    return [...this.#values].filter(([value]) => text.includes(value)).map(([, what]) => what)
  }
}
