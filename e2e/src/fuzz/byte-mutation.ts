/** Changes to bytes that know nothing of their meaning. */
import type { Compared } from './coverage.ts'
import type { Random } from './random.ts'

/** What mutations may draw on. */
export interface Material {
  /** Another input of the corpus, for splices. */
  readonly other: Uint8Array
  readonly words: readonly string[]
  readonly compared: readonly Compared[]
}

type Mutation = (bytes: Buffer, random: Random, material: Material) => Buffer

const interesting = [
  ...[
    0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129, 255, 256, 511, 512, 1023, 1024, 4095,
  ],
  ...[4096, 32767, 32768, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff],
]

const mutations: readonly Mutation[] = [
  flipBit,
  setByte,
  addToByte,
  setInteger,
  adjustInteger,
  insertBytes,
  removeBlock,
  duplicateBlock,
  moveBlock,
  overwriteBlock,
  truncate,
  insertWord,
  insertWord,
  overwriteWord,
  followComparison,
  followComparison,
  splice,
  crossOver,
  changeDigit,
]

/** One random change; may also leave the bytes as they are. */
export function mutateBytes(bytes: Buffer, random: Random, material: Material): Buffer {
  return random.pick(mutations)(bytes, random, material)
}

function flipBit(bytes: Buffer, random: Random): Buffer {
  return edited(bytes, random.below(bytes.length), (byte) => byte ^ (1 << random.below(8)))
}

function setByte(bytes: Buffer, random: Random): Buffer {
  return edited(bytes, random.below(bytes.length), () => random.below(256))
}

function addToByte(bytes: Buffer, random: Random): Buffer {
  return edited(bytes, random.below(bytes.length), (byte) => byte + random.below(33) - 16)
}

function edited(bytes: Buffer, at: number, edit: (byte: number) => number): Buffer {
  const result = Buffer.from(bytes)
  if (at < result.length) result[at] = edit(result[at] ?? 0) & 0xff
  return result
}

/** A number of 1, 2, 4 or 8 bytes, either byte order. */
function setInteger(bytes: Buffer, random: Random): Buffer {
  const integer = integerBytes(BigInt(random.pick(interesting)), random)
  return overwritten(bytes, random.below(bytes.length), integer)
}

function integerBytes(value: bigint, random: Random): Buffer {
  const size = random.pick([1, 2, 2, 4, 4, 8])
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value))
  const integer = bytes.subarray(0, size)
  return random.chance(2) ? integer : integer.reverse()
}

/** Length fields are rarely wrong by much. */
function adjustInteger(bytes: Buffer, random: Random): Buffer {
  const size = random.pick([1, 2, 4])
  if (bytes.length < size) return bytes
  const at = random.below(bytes.length - size + 1)
  const result = Buffer.from(bytes)
  const delta = random.below(17) - 8
  const limit = 2 ** (8 * size)
  if (random.chance(2)) result.writeUIntBE((result.readUIntBE(at, size) + delta + limit) % limit, at, size)
  else result.writeUIntLE((result.readUIntLE(at, size) + delta + limit) % limit, at, size)
  return result
}

function insertBytes(bytes: Buffer, random: Random): Buffer {
  const block = Buffer.alloc(1 + random.below(random.pick([2, 8, 64])), random.below(256))
  return inserted(bytes, random.below(bytes.length + 1), block)
}

function removeBlock(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random)
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
}

function duplicateBlock(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random)
  const times = random.chance(8) ? 1 + random.below(64) : 1
  const block = bytes.subarray(start, end)
  return inserted(bytes, random.chance(2) ? end : random.below(bytes.length + 1), repeated(block, times))
}

function repeated(block: Buffer, times: number): Buffer {
  return Buffer.concat(Array.from({ length: block.length > 4096 ? 1 : times }, () => block))
}

function moveBlock(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random)
  const rest = Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
  return inserted(rest, random.below(rest.length + 1), bytes.subarray(start, end))
}

function overwriteBlock(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random)
  return overwritten(bytes, random.below(bytes.length), Buffer.from(bytes.subarray(start, end)))
}

function truncate(bytes: Buffer, random: Random): Buffer {
  return random.chance(4) ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes
}

function insertWord(bytes: Buffer, random: Random, { words }: Material): Buffer {
  if (words.length === 0) return bytes
  return inserted(bytes, boundary(bytes, random), Buffer.from(random.pick(words)))
}

function overwriteWord(bytes: Buffer, random: Random, { words }: Material): Buffer {
  if (words.length === 0) return bytes
  const at = boundary(bytes, random)
  let end = at
  while (end < bytes.length && isWordByte(bytes[end])) end += 1
  return replaced(bytes, at, end, Buffer.from(random.pick(words)))
}

/** Half the time the beginning of a word of the text. */
function boundary(bytes: Buffer, random: Random): number {
  let at = random.below(bytes.length + 1)
  if (random.chance(2)) return at
  while (at > 0 && isWordByte(bytes[at - 1])) at -= 1
  return at
}

function isWordByte(byte: number | undefined): boolean {
  return byte !== undefined && /\w/.test(String.fromCharCode(byte))
}

/** Puts one side of a comparison that failed where the other side is. */
function followComparison(bytes: Buffer, random: Random, { compared }: Material): Buffer {
  if (compared.length === 0) return bytes
  const [left, right] = random.pick(compared)
  const [from, to] = random.chance(2) ? [left, right] : [right, left]
  const [search, replacement] = comparedBytes(from, to, random)
  if (search.length === 0) return bytes
  const found = bytes.indexOf(search, random.below(bytes.length))
  const at = found === -1 ? bytes.indexOf(search) : found
  if (at !== -1) return replaced(bytes, at, at + search.length, replacement)
  return random.chance(8) ? overwritten(bytes, random.below(bytes.length), replacement) : bytes
}

function comparedBytes(from: Compared[0], to: Compared[0], random: Random): [Buffer, Buffer] {
  if (typeof from === 'string' || typeof to === 'string' || random.chance(2)) {
    return [Buffer.from(String(from)), Buffer.from(String(to))]
  }
  const size = random.pick([1, 2, 4, 8])
  const bigEndian = random.chance(2)
  const write = (value: number | bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
    const integer = bytes.subarray(0, size)
    return bigEndian ? integer.reverse() : integer
  }
  return [write(from), write(to)]
}

function splice(bytes: Buffer, random: Random, { other }: Material): Buffer {
  const [start, end] = span(Buffer.from(other), random)
  return inserted(bytes, random.below(bytes.length + 1), other.subarray(start, end))
}

function crossOver(bytes: Buffer, random: Random, { other }: Material): Buffer {
  const head = bytes.subarray(0, random.below(bytes.length + 1))
  return Buffer.concat([head, other.subarray(random.below(other.length + 1))])
}

/** Numbers in texts. */
function changeDigit(bytes: Buffer, random: Random): Buffer {
  const text = bytes.toString('latin1')
  const matches = [...text.slice(0, 4096).matchAll(/\d+/g)]
  if (matches.length === 0) return bytes
  const match = random.pick(matches)
  const number = random.pick([
    '0',
    '-1',
    '1e308',
    '1e-400',
    '0.1',
    String(random.pick(interesting)),
    '9'.repeat(25),
  ])
  return replaced(bytes, match.index, match.index + match[0].length, Buffer.from(number))
}

function span(bytes: Uint8Array, random: Random): [start: number, end: number] {
  const start = random.below(bytes.length)
  const length = 1 + random.below(Math.min(bytes.length - start, random.pick([4, 16, 64, 1024, 65536])))
  return [start, Math.min(start + length, bytes.length)]
}

function inserted(bytes: Buffer, at: number, block: Uint8Array): Buffer {
  return replaced(bytes, at, at, block)
}

function overwritten(bytes: Buffer, at: number, block: Uint8Array): Buffer {
  return replaced(bytes, at, Math.min(at + block.length, bytes.length), block)
}

function replaced(bytes: Buffer, start: number, end: number, block: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, start), block, bytes.subarray(end)])
}
