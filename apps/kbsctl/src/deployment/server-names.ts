import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { ServerNames } from '../certificates.ts'
import { CommandFailed } from '../terminal.ts'

const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
const dnsName = new RegExp(`^(\\*\\.)?${label}(\\.${label})*$`)

/** Host names and addresses as given on a command line. @throws CommandFailed for what is neither */
export function serverNames(dns: readonly string[], ip: readonly string[]): ServerNames {
  const names = { dns: unique(dns.map(checkDnsName)), ip: unique(ip.map(checkAddress)) }
  if (names.dns.length + names.ip.length === 0)
    throw new CommandFailed('a server certificate needs --dns or --ip')
  return names
}

/** The names in a certificate. */
export function namesIn(pem: string): ServerNames {
  const text = new X509Certificate(pem).subjectAltName ?? ''
  const of = (kind: string) =>
    text.split(', ').flatMap((name) => (name.startsWith(kind) ? [name.slice(kind.length)] : []))
  return serverNames(of('DNS:'), of('IP Address:'))
}

function checkDnsName(text: string): string {
  const name = text.toLowerCase()
  if (isIP(name) !== 0) throw new CommandFailed(`${text} is an address: --ip`)
  if (name.length > 253 || !dnsName.test(name)) throw new CommandFailed(`${text} is not a host name`)
  return name
}

/** IPv6 in its short form, which is the only one that certificates are made from. */
function checkAddress(text: string): string {
  const family = isIP(text)
  if (family === 0 || text.includes('%')) throw new CommandFailed(`${text} is not an IP address`)
  return family === 4 ? text : new URL(`http://[${text}]`).hostname.slice(1, -1)
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)]
}
