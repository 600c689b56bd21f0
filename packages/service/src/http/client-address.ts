import { BlockList, isIP } from 'node:net'

/** Tells trusted proxies from clients. */
export interface ProxyTrust {
  isTrusted(address: string): boolean
  /**
   * The client's address: that of the connection, or, where that is a trusted proxy, the last address of
   * `X-Forwarded-For` that is none.
   */
  clientAddress(connection: string | undefined, forwardedFor: string | undefined): string
}

/** @param networks addresses and CIDR networks, already checked by the configuration */
export function createProxyTrust(networks: readonly string[]): ProxyTrust {
  const trusted = new BlockList()
  for (const network of networks) {
    const [address = '', prefix] = network.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (prefix === undefined) trusted.addAddress(address, family)
    else trusted.addSubnet(address, Number(prefix), family)
  }
  const isTrusted = (address: string): boolean => {
    const family = isIP(address)
    return family !== 0 && trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }
  return {
    isTrusted,
    clientAddress(connection, forwardedFor) {
      let client = plainAddress(connection ?? 'unknown')
      const hops = (forwardedFor ?? '').split(',').map((hop) => plainAddress(hop.trim()))
      while (isTrusted(client)) {
        const hop = hops.pop()
        if (hop === undefined || isIP(hop) === 0) break
        client = hop
      }
      return client
    },
  }
}

/** `::ffff:192.0.2.1` is 192.0.2.1; ports and brackets of proxies are taken off. */
function plainAddress(text: string): string {
  const bare = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? (/^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] || text)
  return bare.toLowerCase().startsWith('::ffff:') && isIP(bare.slice(7)) === 4 ? bare.slice(7) : bare
}
