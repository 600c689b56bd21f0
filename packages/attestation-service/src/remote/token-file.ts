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
export async function openTokenFile(path: string, reading: Reading = {}): Promise<TokenFile> {
  const lately = await readLately(() => readToken(path), reading)
  return { token: lately }
}

/** The tokens of one client: the new and the former, while one replaces the other. */
export interface AcceptedTokens {
  /** As read at most `maxAgeMs` ago; at least one. Rejects with `TokenFileError`. */
  tokens(): Promise<readonly string[]>
}

/** The same for whoever is shown the token: the file may hold several, one a line. @throws TokenFileError */
export async function openAcceptedTokens(path: string, reading: Reading = {}): Promise<AcceptedTokens> {
  const lately = await readLately(() => readTokens(path), reading)
  return { tokens: lately }
}

interface Reading {
  readonly maxAgeMs?: number
  /** Milliseconds. */
  readonly clock?: () => number
}

async function readLately<T>(
  read: () => Promise<T>,
  { maxAgeMs = 5_000, clock = () => performance.now() }: Reading,
): Promise<() => Promise<T>> {
  let known = { value: await read(), at: clock() }
  return async () => {
    if (clock() - known.at > maxAgeMs) known = { value: await read(), at: clock() }
    return known.value
  }
}

const maxTokens = 4

async function readTokens(path: string): Promise<readonly string[]> {
  const lines = (await readText(path)).split('\n').map((line) => line.trim())
  const tokens = lines.filter((line) => line !== '')
  if (tokens.length === 0 || tokens.length > maxTokens || !tokens.every((token) => tokenForm.test(token)))
    throw new TokenFileError(
      `${path} holds no bearer tokens: 1 to ${maxTokens}, one a line, of 32 to 4096 letters, digits and - . _ ~ + /`,
    )
  return tokens
}

async function readToken(path: string): Promise<string> {
  const token = (await readText(path)).trim()
  if (!tokenForm.test(token))
    throw new TokenFileError(`${path} holds no bearer token of 32 to 4096 letters, digits and - . _ ~ + /`)
  return token
}

function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new TokenFileError(`${path} cannot be read`, { cause })
  })
}
