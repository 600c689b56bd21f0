import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { type Lifetime, type ServerNames, serverCertificate, tokenCertificate } from '../certificates.ts'
import { type Authority, newEcKey, pemOf } from './authority.ts'
import type { DeploymentFile } from './deployment-directory.ts'
import { redisAcl } from './redis-acl.ts'

/** The programs that can be deployed. */
export const programs = ['kbs-attest', 'kbs-resource', 'kbs', 'attestation-service'] as const
export type Program = (typeof programs)[number]

/** What is made at once, and renewed at once. */
export const items = [
  'ca',
  'tls',
  'redis-tls',
  'redis',
  'admin',
  'token-ca',
  'token',
  'storage',
  'client',
  'trustee1-ca',
] as const
export type Item = (typeof items)[number]

const always = ['ca', 'tls', 'redis-tls', 'redis'] as const
const token = ['token-ca', 'token'] as const

/** What each program needs. Redis's part is made whether the program's store is Redis or not. */
export const itemsOf: Readonly<Record<Program, readonly Item[]>> = {
  'kbs-attest': [...always, 'admin', ...token],
  'kbs-resource': [...always, 'admin', 'storage', 'trustee1-ca'],
  kbs: [...always, 'admin', ...token, 'storage'],
  'attestation-service': [...always, ...token, 'client'],
}

/** For how long certificates are made. */
export interface Validity {
  readonly now: Date
  /** Of certificates below a CA. */
  readonly days: number
  readonly caDays: number
}

const msPerDay = 86_400_000
/** Clocks of guests and of the other Trustee may be late by this much. */
const clockSkewMs = 300_000

/** @param limit a certificate does not outlive its CA */
export function lifetime(now: Date, days: number, limit?: Date): Lifetime {
  const second = Math.floor(now.getTime() / 1000) * 1000
  const notAfter = second + days * msPerDay
  return {
    notBefore: new Date(second - clockSkewMs),
    notAfter: new Date(Math.min(notAfter, limit?.getTime() ?? notAfter)),
  }
}

/** @param name `tls` for the program, `redis` for its Redis */
export function serverFiles(
  name: 'tls' | 'redis',
  names: ServerNames,
  authority: Authority,
  { now, days }: Validity,
): DeploymentFile[] {
  const subject = { name: commonName(names), key: newEcKey() }
  const period = lifetime(now, days, authority.notAfter)
  const certificate = serverCertificate(subject, authority.subject, period, names)
  return [
    { name: `${name}.pem`, text: certificate, secret: false },
    { name: `${name}.key`, text: pemOf(subject.key), secret: true },
  ]
}

/** @param former the password that still lets in, until all have the new one */
export function redisFiles(former?: string): DeploymentFile[] {
  const password = randomBytes(32).toString('hex')
  return [
    redisAclFile(former === undefined ? [password] : [password, former]),
    { name: 'redis.password', text: `${password}\n`, secret: true },
  ]
}

export function redisAclFile(passwords: readonly string[]): DeploymentFile {
  return { name: 'redis.acl', text: redisAcl(passwords), secret: true }
}

/** @param former public key that still counts, PEM */
export function adminFiles(former = ''): DeploymentFile[] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const publicPem = publicKey.export({ format: 'pem', type: 'spki' }).toString()
  return [
    { name: 'offline/admin.key', text: pemOf(privateKey), secret: true },
    { name: 'admin.pub.pem', text: publicPem + former, secret: false },
  ]
}

/** The chain comes first: a server that looks in between finds the old key with a chain that is not its own, and waits. */
export function tokenFiles(owner: Program, authority: Authority, { now, days }: Validity): DeploymentFile[] {
  const signer = { name: `${owner} passport signer`, key: newEcKey() }
  const period = lifetime(now, days, authority.notAfter)
  const chain = tokenCertificate(signer, authority.subject, period) + authority.certificate
  return [
    { name: 'token-chain.pem', text: chain, secret: false },
    { name: 'token.key', text: pemOf(signer.key), secret: true },
  ]
}

/** @param previous text of the key file before; absent: one that nothing was ever encrypted with, so that the name exists */
export function storageFiles(previous = newStorageKey()): DeploymentFile[] {
  return [
    { name: 'storage-previous.key', text: previous, secret: true },
    { name: 'storage.key', text: newStorageKey(), secret: true },
  ]
}

/**
 * Bearer token of the attestation service's client, and the file of those that the service accepts, one a line.
 * @param former the token that still counts
 */
export function clientFiles(former?: string): DeploymentFile[] {
  const token = randomBytes(32).toString('base64url')
  return [
    acceptedTokensFile(former === undefined ? [token] : [token, former]),
    { name: 'client.token', text: `${token}\n`, secret: true },
  ]
}

export function acceptedTokensFile(tokens: readonly string[]): DeploymentFile {
  return { name: 'client-accepted.tokens', text: tokens.map((token) => `${token}\n`).join(''), secret: true }
}

/** Whether a file holds such a key, and nothing else. */
export function isStorageKey(text: string): boolean {
  return /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\r?\n?$/.test(text)
}

/** 32 bytes in base64, as `[storage_backend.encryption]` wants them. */
function newStorageKey(): string {
  return `${randomBytes(32).toString('base64')}\n`
}

/** At most 64 characters (RFC 5280, ub-common-name); clients look at the alternative names only. */
function commonName({ dns, ip }: ServerNames): string {
  return [...dns, ...ip].find((name) => name.length <= 64) ?? 'server'
}
