import { BlockList, isIP } from 'node:net'
import type { RawConfig } from './schema.ts'

/** `[::1]:8080` → `::1` and 8080. */
export function splitSocket(socket: string): { readonly host: string; readonly port: number } {
  const colon = socket.lastIndexOf(':')
  return { host: socket.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(socket.slice(colon + 1)) }
}

/** Whether only this machine reaches `ip:port`. */
export function isLoopbackSocket(socket: string): boolean {
  return isLoopback(splitSocket(socket).host)
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

export function isLoopback(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, '')
  if (address === 'localhost') return true
  const family = isIP(address)
  return family !== 0 && loopback.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** Whether a connection to one can be for the other: port 0 is another each time. */
export function isSameSocket(one: string, other: string): boolean {
  const [a, b] = [splitSocket(one), splitSocket(other)]
  if (a.port !== b.port || a.port === 0) return false
  const isAny = (host: string) => /^[0:.]+$/.test(host)
  const isLocal = a.host === 'localhost' || b.host === 'localhost'
  return (
    a.host === b.host ||
    isAny(a.host) ||
    isAny(b.host) ||
    (isLocal && isLoopback(a.host) && isLoopback(b.host))
  )
}

/** Whether only this machine reaches the HTTP sockets. */
export function onLoopback(config: RawConfig): boolean {
  return config.http_server.sockets.every(isLoopbackSocket)
}

/** Whether all sockets of the attestation service, for gRPC and REST, are on loopback. */
export function isApiOnLoopback(config: RawConfig): boolean {
  const { grpc_sockets } = config.attestation_api
  return onLoopback(config) && grpc_sockets.every(isLoopbackSocket)
}

/** Trustee takes an address without scheme for an http one (spec 02 §3.5). */
export function referenceValueAddress(address: string): string {
  return address.includes('://') ? address : `http://${address}`
}
