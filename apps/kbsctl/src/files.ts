import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { decodeUtf8 } from '@passport-kbs/protocol'
import { CommandFailed, type Terminal } from './terminal.ts'

/** Reads a file that the user named. @throws CommandFailed */
export async function readBytes(terminal: Terminal, path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(resolve(terminal.cwd, path)))
  } catch (cause) {
    throw new CommandFailed(`cannot read ${path}: ${systemReason(cause)}`, { cause })
  }
}

/** As `readBytes`, for UTF-8 text. */
export async function readText(terminal: Terminal, path: string): Promise<string> {
  const bytes = await readBytes(terminal, path)
  try {
    return decodeUtf8(bytes)
  } catch (cause) {
    throw new CommandFailed(`${path} is not UTF-8 text`, { cause })
  }
}

/**
 * The token in the text of a file. Anything else is refused here: as a header field it would fail in the HTTP client, whose
 * error quotes it, and what is in the wrong file may be a private key.
 * @throws CommandFailed
 */
export function tokenIn(text: string, path: string): string {
  const token = text.trim()
  if (!/^[A-Za-z0-9_.~+/=-]+$/.test(token)) throw new CommandFailed(`${path} does not hold a token`)
  return token
}

/** Writes a new file; an old one of that name is never replaced. @param secret only its owner may read it. */
export async function writeNew(path: string, text: string, { secret }: { secret: boolean }): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx', mode: secret ? 0o600 : 0o644 })
  } catch (cause) {
    throw new CommandFailed(`cannot write ${path}: ${systemReason(cause)}`, { cause })
  }
}

/** `ENOENT` and the like. */
function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  return 'code' in error ? String(error.code) : error.message
}
