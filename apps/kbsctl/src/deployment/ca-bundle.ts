import { X509Certificate } from 'node:crypto'
import { CommandFailed } from '../terminal.ts'

/** The certificates of a PEM file. @throws CommandFailed */
export function certificatesIn(pem: string, file: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) throw new CommandFailed(`${file} has no certificate in PEM form`)
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch (cause) {
    throw new CommandFailed(`${file} has a certificate that cannot be read`, { cause })
  }
}

/**
 * Makes sure that a file received from Trustee 1 is what Trustee 2 can trust: one or more CA certificates that are valid
 * now, and nothing that should not have left Trustee 1.
 * @throws CommandFailed
 */
export function checkCaBundle(pem: string, file: string, now: Date): void {
  if (pem.includes('PRIVATE KEY')) {
    throw new CommandFailed(
      `${file} holds a private key: Trustee 1 must not hand it out, and has to replace it`,
    )
  }
  for (const certificate of certificatesIn(pem, file)) {
    const name = `${file}: ${certificate.subject.replaceAll('\n', ', ')}`
    if (!certificate.ca) {
      throw new CommandFailed(`${name} is not a CA certificate; what is needed is Trustee 1's token-ca.pem`)
    }
    if (certificate.validFromDate > now) throw new CommandFailed(`${name} is not valid yet`)
    if (certificate.validToDate <= now) throw new CommandFailed(`${name} has expired`)
  }
}
