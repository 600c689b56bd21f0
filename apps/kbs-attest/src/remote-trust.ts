import { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { RemoteAddress, RemoteTrust } from '@passport-kbs/attestation-service/remote'
import { ConfigError, type Logger } from '@passport-kbs/service'
import { readIdentity, readPem } from './pem-files.ts'

/** Files that a section names, as it names them. */
export interface TrustFiles {
  readonly ca?: string
  readonly clientKey?: string
  readonly clientCertificate?: string
}

/** As often as servers look at their certificates. */
const checkMs = 10_000

/**
 * By what a remote service is checked, and what is shown to it; replaced files are taken into use without a restart.
 * @param section of the configuration that names the files.
 * @throws ConfigError for a file that cannot be read, and a key that is not the certificate's
 */
export async function openRemoteTrust(
  section: string,
  files: TrustFiles,
  logger: Logger,
): Promise<Omit<RemoteAddress, 'url'>> {
  const first = await readTrust(section, files)
  let inUse = JSON.stringify(first)
  const check = async (take: (trust: RemoteTrust) => void) => {
    try {
      const found = await readTrust(section, files)
      if (JSON.stringify(found) === inUse) return
      take(found)
      inUse = JSON.stringify(found)
      logger.info({ section }, 'certificates for a remote service taken into use')
    } catch (err) {
      logger.error(
        { err, section },
        'changed certificates for a remote service cannot be used; the former stay in use',
      )
    }
  }
  return {
    ...first,
    renewals: (take) => {
      const timer = setInterval(() => void check(take), checkMs).unref()
      return () => clearInterval(timer)
    },
  }
}

async function readTrust(section: string, files: TrustFiles): Promise<RemoteTrust> {
  const ca = await readPem(`${section}.ca`, files.ca)
  if (ca !== undefined) assertCertificate(`${section}.ca`, ca)
  const identity = await readIdentity(section, files)
  try {
    if (identity !== undefined) createSecureContext({ key: identity.key, cert: identity.certificate })
  } catch (cause) {
    const problem = { path: `${section}.client_key`, problem: 'is not the key of client_certificate' }
    throw new ConfigError([{ ...problem, remedy: 'Give the key and the certificate that belong together' }], {
      cause,
    })
  }
  return { ca, identity }
}

/** OpenSSL passes over what is no certificate, as in a file that is being written, and would then trust nobody. */
function assertCertificate(path: string, pem: string): void {
  try {
    void new X509Certificate(pem)
  } catch (cause) {
    const problem = { path, problem: 'holds no certificate' }
    throw new ConfigError([{ ...problem, remedy: 'Give the PEM certificate of the CA' }], { cause })
  }
}
