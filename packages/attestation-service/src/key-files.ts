import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'
import {
  certifiedJwk,
  generateSigningKey,
  readCertificateChain,
  readPublicKey,
  readSigningKey,
  SigningKeyError,
  type SigningState,
  type TokenJwk,
  tokenJwk,
} from './signing-key.ts'
import type { TokenSignerOptions } from './token-signer.ts'

/** A key that signs no more, published until its last token has expired. */
export interface RetiredKey {
  readonly jwk: TokenJwk
  readonly until: Date
}

/** Where a signer's key and its earlier public keys are kept. */
export interface KeyFiles {
  /** Whether files are there that can change. */
  readonly watched: boolean
  load(): Promise<SigningState>
  /** Differs from the loaded state's stamp when there is something new to load. */
  stamp(): Promise<string>
  /** Makes a new key in place of the old. */
  replaceKey(): Promise<SigningState>
  loadRetired(): Promise<readonly RetiredKey[]>
  saveRetired(keys: readonly RetiredKey[]): Promise<void>
}

const keyFileName = 'token-signing-key.pem'
const retiredFileName = 'token-retired-keys.json'
const maxKeyFileBytes = 64 * 1024
export const maxRetiredKeys = 64

/** The files that `options` name; with neither key nor directory, everything stays in memory. */
export function createKeyFiles(options: TokenSignerOptions, now: () => Date): KeyFiles {
  const { keyPath, certPath, certUrl, stateDir, previousKeyPaths = [] } = options
  if (certPath !== undefined && keyPath === undefined) {
    throw new SigningKeyError('a certificate chain needs the key that it is of')
  }
  const ownKeyPath = keyPath === undefined && stateDir !== undefined ? join(stateDir, keyFileName) : undefined
  const path = keyPath ?? ownKeyPath
  const retiredPath = stateDir === undefined ? undefined : join(stateDir, retiredFileName)
  const watchedPaths = [path, certPath, ...previousKeyPaths].filter((file) => file !== undefined)
  const stamp = async () => (await Promise.all(watchedPaths.map(fileStamp))).join(' ')

  const load = async () => {
    // before the files are read, so that a change in between is seen the next time
    const readStamp = await stamp()
    const key = path === undefined ? generateSigningKey() : readSigningKey(await readFileBounded(path))
    const chain =
      certPath === undefined
        ? undefined
        : readCertificateChain((await readFileBounded(certPath)).toString('latin1'), key, now())
    const previous = await Promise.all(
      previousKeyPaths.map(async (file) => tokenJwk(readPublicKey(await readFileBounded(file)))),
    )
    return { key, jwk: certifiedJwk(key, chain, certUrl), chain, previous, stamp: readStamp }
  }

  return {
    watched: watchedPaths.length > 0,
    stamp,
    load: async () => {
      if (stateDir !== undefined) await mkdir(stateDir, { recursive: true, mode: 0o700 })
      if (ownKeyPath !== undefined) await writeIfAbsent(ownKeyPath, () => pemOf(generateSigningKey()))
      return await load()
    },
    replaceKey: async () => {
      if (keyPath !== undefined) {
        throw new SigningKeyError('the signing key is the operator’s: replace its file instead')
      }
      if (ownKeyPath !== undefined) await writeFileAtomically(ownKeyPath, pemOf(generateSigningKey()))
      return await load()
    },
    loadRetired: async () => (retiredPath === undefined ? [] : await readRetired(retiredPath)),
    saveRetired: async (keys) => {
      if (retiredPath !== undefined) await writeFileAtomically(retiredPath, writeRetired(keys))
    },
  }
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

async function readFileBounded(path: string): Promise<Buffer> {
  try {
    const { size } = await stat(path)
    if (size > maxKeyFileBytes) throw new SigningKeyError(`${path} is larger than ${maxKeyFileBytes} bytes`)
    return await readFile(path)
  } catch (cause) {
    if (cause instanceof SigningKeyError) throw cause
    throw new SigningKeyError(`${path} cannot be read`, { cause })
  }
}

async function fileStamp(path: string): Promise<string> {
  try {
    const { mtimeNs, size, ino } = await stat(path, { bigint: true })
    return `${mtimeNs}-${size}-${ino}`
  } catch {
    return 'absent'
  }
}

/** Of several processes that start at once, one makes the key and all use it. */
async function writeIfAbsent(path: string, make: () => string): Promise<void> {
  if ((await fileStamp(path)) !== 'absent') return
  const temporary = await writeTemporary(path, make())
  try {
    await link(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(temporary, { force: true })
  }
}

async function writeFileAtomically(path: string, text: string): Promise<void> {
  const temporary = await writeTemporary(path, text)
  try {
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function writeTemporary(path: string, text: string): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await chmod(temporary, 0o600)
  return temporary
}

function writeRetired(keys: readonly RetiredKey[]): string {
  return `${JSON.stringify(keys.map(({ jwk, until }) => ({ jwk, until: until.toISOString() })))}\n`
}

async function readRetired(path: string): Promise<readonly RetiredKey[]> {
  if ((await fileStamp(path)) === 'absent') return []
  let entries: JsonValue
  try {
    entries = parseJson(await readFileBounded(path))
  } catch (cause) {
    throw new SigningKeyError(`${path} cannot be read`, { cause })
  }
  if (!Array.isArray(entries) || entries.length > maxRetiredKeys) {
    throw new SigningKeyError(`${path} is not a list of retired keys`)
  }
  return entries.map((entry) => readRetiredKey(path, entry))
}

/** Only the key itself is taken from the file: everything else about it is made again. */
function readRetiredKey(path: string, entry: JsonValue): RetiredKey {
  const jwk = isJsonObject(entry) ? entry.jwk : undefined
  const until = isJsonObject(entry) && typeof entry.until === 'string' ? new Date(entry.until) : undefined
  if (!isJsonObject(jwk) || !until || Number.isNaN(until.getTime())) {
    throw new SigningKeyError(`${path} has an entry that is not a retired key`)
  }
  try {
    const { x, y } = jwk
    const key = createPublicKey({
      key: { kty: 'EC', crv: 'P-256', x: String(x), y: String(y) },
      format: 'jwk',
    })
    return { jwk: tokenJwk(key), until }
  } catch (cause) {
    throw new SigningKeyError(`${path} has an entry that is not a retired key`, { cause })
  }
}
