import { createPrivateKey, type KeyObject, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { readText } from '../files.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface AdminTokenOptions {
  /** File with the private key, PEM. */
  readonly key: string
  readonly role: string
  readonly issuer?: string
  readonly audience?: string
  readonly subject: string
  readonly hours: number
}

/** Prints a token with which an administrator shows who they are (spec 01 §6.2). */
export async function adminToken(terminal: Terminal, options: AdminTokenOptions): Promise<void> {
  const key = privateKey(await readText(terminal, options.key))
  const seconds = Math.floor(terminal.now().getTime() / 1000)
  const jwt = new SignJWT({ role: options.role })
    .setProtectedHeader({ alg: algorithmFor(key), typ: 'JWT' })
    .setSubject(options.subject)
    .setJti(randomUUID())
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + Math.round(options.hours * 3600))
  if (options.issuer !== undefined) jwt.setIssuer(options.issuer)
  if (options.audience !== undefined) jwt.setAudience([options.audience])
  terminal.out(await jwt.sign(key))
}

function privateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw new CommandFailed('the key file is not a private key in PEM form', { cause })
  }
}

/** One algorithm for each kind of key. */
function algorithmFor(key: KeyObject): string {
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  if (key.asymmetricKeyType === 'rsa') return 'PS256'
  const curve = key.asymmetricKeyDetails?.namedCurve
  if (curve === 'prime256v1') return 'ES256'
  if (curve === 'secp384r1') return 'ES384'
  throw new CommandFailed('the key is none of Ed25519, EC P-256, EC P-384, RSA')
}
