import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { caCertificate, type Lifetime, type Subject } from '../certificates.ts'
import { CommandFailed } from '../terminal.ts'
import { certificatesIn } from './ca-bundle.ts'
import type { DeploymentDirectory, DeploymentFile } from './deployment-directory.ts'

/** The CAs of a deployment: one for its servers' certificates, one for the key that signs passports. */
export type AuthorityName = 'ca' | 'token-ca'

/** A CA with which certificates can be made. */
export interface Authority {
  readonly subject: Subject
  /** PEM. */
  readonly certificate: string
  readonly notAfter: Date
}

const titles = { ca: 'TLS CA', 'token-ca': 'passport CA' } as const satisfies Record<AuthorityName, string>

/** @param owner whose CA it is, for people who read certificates */
export function newAuthority(name: AuthorityName, owner: string, lifetime: Lifetime): Authority {
  // a CA that follows another one is not to be taken for it
  const serial = randomBytes(4).toString('hex')
  const subject = { name: `${owner} ${titles[name]} ${serial}`, key: newEcKey() }
  return { subject, certificate: caCertificate(subject, lifetime), notAfter: lifetime.notAfter }
}

/** @param former certificates that clients shall go on trusting, PEM */
export function authorityFiles(name: AuthorityName, authority: Authority, former = ''): DeploymentFile[] {
  return [
    { name: `offline/${name}.key`, text: pemOf(authority.subject.key), secret: true },
    { name: `${name}.pem`, text: authority.certificate + former, secret: false },
  ]
}

/** The CA that is in force: the first in its file. @throws CommandFailed */
export async function readAuthority(
  name: AuthorityName,
  directory: DeploymentDirectory,
  now: Date,
): Promise<Authority> {
  const file = directory.path(`${name}.pem`)
  const [current] = certificatesIn(await directory.read(`${name}.pem`), file)
  const key = privateKey(await directory.read(`offline/${name}.key`), directory.path(`offline/${name}.key`))
  const commonName = /^CN=(.+)$/m.exec(current?.subject ?? '')?.[1]
  if (current === undefined || commonName === undefined || !current.checkPrivateKey(key)) {
    throw new CommandFailed(`${file} does not begin with the certificate of ${name}.key`)
  }
  if (current.validToDate <= now) {
    throw new CommandFailed(`${file} has expired: --renew ${name} first`)
  }
  return {
    subject: { name: commonName, key },
    certificate: currentOf(current.toString()),
    notAfter: current.validToDate,
  }
}

export function newEcKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** PKCS #8. */
export function pemOf(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString()
}

function privateKey(pem: string, file: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    // the cause is left out: it is about key material
    throw new CommandFailed(`${file} is not a private key in PEM form`)
  }
}

function currentOf(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`
}
