import { readFile } from 'node:fs/promises'

/** A bearer token that an operator may replace while the process runs. */
export interface TokenFile {
  /** The token as read at most `maxAgeMs` ago. Rejects with `TokenFileError`. */
  token(): Promise<string>
}

/** The file has no usable token; the message names the file, never what is in it. */
export class TokenFileError extends Error {
  override readonly name = 'TokenFileError'
}

/** What RFC 6750 §2.1 lets a bearer token consist of, at a length that cannot be guessed. */
const tokenForm = /^[A-Za-z0-9._~+/-]{32,4096}=*$/

/** Reads the token once, so that a start without it fails, and again when it is asked for later. @throws TokenFileError */
export async function openTokenFile(
  path: string,
  { maxAgeMs = 5_000, clock = () => performance.now() } = {},
): Promise<TokenFile> {
  let known = { token: await readToken(path), at: clock() }
  return {
    async token() {
      if (clock() - known.at > maxAgeMs) known = { token: await readToken(path), at: clock() }
      return known.token
    },
  }
}

async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new TokenFileError(`${path} cannot be read`, { cause })
  })
  const token = text.trim()
  if (!tokenForm.test(token))
    throw new TokenFileError(`${path} holds no bearer token of 32 to 4096 letters, digits and - . _ ~ + /`)
  return token
}
