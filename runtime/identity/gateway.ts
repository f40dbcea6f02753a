import { BlockList, isIPv6 } from 'node:net'

/** True for a request whose socket comes from there. */
export type IsGateway = (socketAddress: string | undefined) => boolean

/** Tells the addresses and networks (CIDR) of gateways from all others. What stands in headers plays no part. */
export function createIsGateway(networks: readonly string[]): IsGateway {
  if (networks.length === 0) return () => false
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    const family = familyOf(address)
    list.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family)
  }
  return (address) => address !== undefined && list.check(address, familyOf(address))
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}
