import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { caCertificate, tokenCertificate } from '../certificates.ts'
import { writeNew } from '../files.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface KeygenOptions {
  /** Directory for an administrator's key pair. */
  readonly admin?: string
  /** Directory for a token key, its certificate chain and the CA. */
  readonly token?: string
  /** File for a key that a server's storage is encrypted with. */
  readonly storageKey?: string
  /** Validity of the token key's certificate. */
  readonly days: number
}

const caDays = 3650
/** AES-256. */
const storageKeyBytes = 32
const msPerDay = 86_400_000

/** Makes keys; files that exist are never replaced. */
export async function keygen(terminal: Terminal, options: KeygenOptions): Promise<void> {
  if (options.admin === undefined && options.token === undefined && options.storageKey === undefined) {
    throw new CommandFailed('one of --admin DIR, --token DIR, --storage-key FILE is needed')
  }
  if (options.admin !== undefined) await writeAdminKeys(terminal, options.admin)
  if (options.token !== undefined) await writeTokenKeys(terminal, options.token, options.days)
  if (options.storageKey !== undefined) await writeStorageKey(terminal, options.storageKey)
}

/** 32 random bytes in base64, for `key_file` in `[storage_backend.encryption]`. */
async function writeStorageKey(terminal: Terminal, file: string): Promise<void> {
  const path = resolve(terminal.cwd, file)
  await writeNew(path, `${randomBytes(storageKeyBytes).toString('base64')}\n`, { secret: true })
  terminal.out(path)
}

/** `admin.key` signs admin tokens; `admin.pub` goes into a server's `identity_providers`. */
async function writeAdminKeys(terminal: Terminal, directory: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  await writeAll(terminal, directory, [
    ['admin.key', privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), true],
    ['admin.pub', publicKey.export({ format: 'pem', type: 'spki' }).toString(), false],
  ])
}

/**
 * `token.key` and `token-cert-chain.pem` are the signer of the server that attests; `ca-cert.pem` is what relying servers
 * trust; `ca.key` belongs offline (spec 01 §10).
 */
async function writeTokenKeys(terminal: Terminal, directory: string, days: number): Promise<void> {
  const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const ca = { name: 'passport-kbs token CA', key: newKey() }
  const signer = { name: 'passport-kbs token signer', key: newKey() }
  const notBefore = new Date(Math.floor(terminal.now().getTime() / 1000) * 1000)
  const lifetime = (count: number) => ({
    notBefore,
    notAfter: new Date(notBefore.getTime() + count * msPerDay),
  })
  const caPem = caCertificate(ca, lifetime(caDays))
  const chain = tokenCertificate(signer, ca, lifetime(Math.min(days, caDays))) + caPem
  const pem = (key: typeof ca.key) => key.export({ format: 'pem', type: 'pkcs8' }).toString()
  await writeAll(terminal, directory, [
    ['ca.key', pem(ca.key), true],
    ['ca-cert.pem', caPem, false],
    ['token.key', pem(signer.key), true],
    ['token.pub', createPublicKey(signer.key).export({ format: 'pem', type: 'spki' }).toString(), false],
    ['token-cert-chain.pem', chain, false],
  ])
}

async function writeAll(
  terminal: Terminal,
  directory: string,
  files: readonly (readonly [name: string, text: string, secret: boolean])[],
): Promise<void> {
  const folder = resolve(terminal.cwd, directory)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const [name, text, secret] of files) {
    const path = join(folder, name)
    await writeNew(path, text, { secret })
    terminal.out(path)
  }
}
