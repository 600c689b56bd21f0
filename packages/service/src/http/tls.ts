import { createHash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { HttpServerConfig } from '../config/config.ts'

interface Profile {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly ciphers: string
}

const modernCiphers = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'

const forwardSecretCiphers = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

const oldCiphers = [
  'ECDHE-ECDSA-AES128-SHA256',
  'ECDHE-RSA-AES128-SHA256',
  'AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-SHA256',
].join(':')

const intermediate: Profile = { minVersion: 'TLSv1.2', ciphers: `${modernCiphers}:${forwardSecretCiphers}` }

/** Versions and ciphers of the profiles (spec 01 §7), after Mozilla's server-side TLS recommendations. */
const profiles: Readonly<Record<HttpServerConfig['tlsProfile'], Profile>> = {
  modern: { minVersion: 'TLSv1.3', ciphers: modernCiphers },
  intermediate,
  old: { minVersion: 'TLSv1.2', ciphers: `${modernCiphers}:${forwardSecretCiphers}:${oldCiphers}` },
  custom: intermediate,
}

const preferredGroups = [
  'X25519MLKEM768',
  'SecP256r1MLKEM768',
  'X448MLKEM1024',
  'SecP384r1MLKEM1024',
  'X25519',
  'prime256v1',
  'secp384r1',
]

/** The TLS material or settings cannot be used; the message names the key. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
}

/** Versions, ciphers and groups of a configuration, for `https.createServer`. */
export function tlsParameters(config: HttpServerConfig): SecureContextOptions {
  const profile = profiles[config.tlsProfile]
  return {
    minVersion: config.tlsMinVersion === undefined ? profile.minVersion : `TLSv${config.tlsMinVersion}`,
    maxVersion: config.tlsMaxVersion === undefined ? 'TLSv1.3' : `TLSv${config.tlsMaxVersion}`,
    ciphers: config.tlsCiphers ?? profile.ciphers,
    honorCipherOrder: true,
    ecdhCurve: groupsOf(config.tlsGroups),
  }
}

function groupsOf(configured: HttpServerConfig['tlsGroups']): string {
  if (configured === undefined) return preferredGroups.filter(isKnownGroup).join(':')
  const groups = typeof configured === 'string' ? configured.split(':') : configured
  const names = groups.map((group) => (group.toLowerCase() === 'secp256r1' ? 'prime256v1' : group))
  const unknown = names.filter((name) => !isKnownGroup(name))
  if (unknown.length > 0)
    throw new TlsError(`http_server.tls_groups: not known to this OpenSSL: ${unknown.join(', ')}`)
  return names.join(':')
}

/** Asks OpenSSL, whose versions differ in the ML-KEM hybrids. */
function isKnownGroup(group: string): boolean {
  try {
    createSecureContext({ ecdhCurve: group })
    return true
  } catch {
    return false
  }
}

/** Key and certificate chain as read together, and a digest that changes when anything does. */
export interface TlsMaterial {
  readonly key: Buffer
  readonly cert: Buffer
  /** PEM certificates of a CA whose clients may show a certificate. */
  readonly clientCa: string | undefined
  readonly digest: string
  /** End of validity of the leaf. */
  readonly validTo: Date
}

/**
 * Reads key and certificate and makes sure that they fit each other and the settings.
 * @param clientCaFile PEM certificates of a CA whose clients may show a certificate.
 * @throws TlsError
 */
export async function readTlsMaterial(
  config: HttpServerConfig,
  clientCaFile?: string | undefined,
): Promise<TlsMaterial> {
  if (config.privateKey === undefined || config.certificate === undefined) {
    throw new TlsError('http_server.private_key and http_server.certificate: both are needed for TLS')
  }
  const [key, cert] = await Promise.all([
    readPem('http_server.private_key', config.privateKey),
    readPem('http_server.certificate', config.certificate),
  ])
  const clientCa = clientCaFile === undefined ? undefined : await readClientCa(clientCaFile)
  try {
    createSecureContext({ ...tlsParameters(config), key, cert })
    const digest = createHash('sha256')
      .update(key)
      .update(cert)
      .update(clientCa ?? '')
      .digest('hex')
    return { key, cert, clientCa, digest, validTo: new X509Certificate(cert).validToDate }
  } catch (cause) {
    if (cause instanceof TlsError) throw cause
    const text = cause instanceof Error ? cause.message : 'unknown error'
    throw new TlsError(`http_server: key, certificate and TLS settings cannot be used together: ${text}`, {
      cause,
    })
  }
}

/** OpenSSL passes over what is no certificate, and would then know no client. */
async function readClientCa(path: string): Promise<string> {
  const pem = (await readPem('attestation_api.client_ca', path)).toString('latin1')
  try {
    void new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw new TlsError(`attestation_api.client_ca: ${path} holds no certificate`, { cause })
  }
}

async function readPem(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new TlsError(`${setting}: ${path} cannot be read`, { cause })
  }
}
