/** UUIDs: parsing, and random ones that repeat for equal keys within one evaluation. */
import { normalizeInteger } from '../values/number.ts'
import { objectOf, type Value } from '../values/value.ts'
import { type Builtin, stringAt } from './builtin.ts'

type Call = Builtin['call']

const random: Call = (args, context) => {
  const key = stringAt(args, 0)
  return context.remember(`uuid.rfc4122 ${key}`, () => {
    const hex = Buffer.from(context.randomBytes(16)).toString('hex')
    const variant = ((Number.parseInt(hex[16] as string, 16) & 3) | 8).toString(16)
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(13, 16)}`,
      variant + hex.slice(17, 20),
      hex.slice(20, 32),
    ].join('-')
  })
}

const UUID =
  /^(?:urn:uuid:)?\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?$/i
/** 100 ns intervals from the Gregorian reform to 1970. */
const GREGORIAN = 122_192_928_000_000_000n

function variantOf(octet: number): string {
  if ((octet & 0xc0) === 0x80) return 'RFC4122'
  if ((octet & 0xe0) === 0xc0) return 'Microsoft'
  return (octet & 0xe0) === 0xe0 ? 'Future' : 'Reserved'
}

/** Nanoseconds since 1970 that a UUID holds. */
function timeOf(version: number, bytes: Buffer): bigint | undefined {
  const big = (offset: number, length: number) => BigInt(bytes.readUIntBE(offset, length))
  if (version === 7) return big(0, 6) * 1_000_000n
  if (version === 6) return ((big(0, 6) << 12n) + (big(6, 2) & 0x0fffn) - GREGORIAN) * 100n
  if (version !== 1 && version !== 2) return undefined
  return (((big(6, 2) & 0x0fffn) << 48n) + (big(4, 2) << 32n) + big(0, 4) - GREGORIAN) * 100n
}

const parse: Call = (args) => {
  const match = UUID.exec(stringAt(args, 0))
  if (!match) return undefined
  const hex = match.slice(1).join('').toLowerCase()
  const bytes = Buffer.from(hex, 'hex')
  const version = (bytes[6] as number) >> 4
  const fields: [Value, Value][] = [
    ['version', version],
    ['variant', variantOf(bytes[8] as number)],
  ]
  const time = timeOf(version, bytes)
  if (time !== undefined) fields.push(['time', normalizeInteger(time)])
  if (version === 1 || version === 2) {
    fields.push(['nodeid', [...bytes.subarray(10)].map((b) => b.toString(16).padStart(2, '0')).join('-')])
    fields.push(['macvariables', macVariables(bytes[10] as number)])
    fields.push(['clocksequence', bytes.readUInt16BE(8) & 0x3fff])
  }
  if (version === 2) {
    fields.push(['id', bytes.readUInt32BE(0)])
    fields.push(['domain', ['Person', 'Group', 'Org'][bytes[9] as number] ?? `Domain${bytes[9]}`])
  }
  return objectOf(fields)
}

function macVariables(octet: number): string {
  const scope = octet & 2 ? 'local' : 'global'
  return `${scope}:${octet & 1 ? 'multicast' : 'unicast'}`
}

export const uuidBuiltins: readonly Builtin[] = [
  { name: 'uuid.rfc4122', arity: 1, tier: 2, call: random },
  { name: 'uuid.parse', arity: 1, tier: 2, call: parse },
]
