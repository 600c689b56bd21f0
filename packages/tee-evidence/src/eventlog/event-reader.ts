import { fail } from '../rejection.ts'

/**
 * Reads little-endian fields of an event log one after another. Every length is compared with what is left before a
 * byte is touched, and byte fields are views: no size that stands in the log decides an allocation.
 */
export class EventReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  u8(field: string): number {
    return this.#view.getUint8(this.#advance(1, field))
  }

  u16(field: string): number {
    return this.#view.getUint16(this.#advance(2, field), true)
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#advance(4, field), true)
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#advance(8, field), true)
  }

  /** A view of the next `length` bytes. */
  bytes(length: number, field: string): Uint8Array {
    const start = this.#advance(length, field)
    return this.#bytes.subarray(start, start + length)
  }

  /** As `bytes`, for a length of 64 bits. */
  bytesOfLength(length: bigint, field: string): Uint8Array {
    if (length > BigInt(this.remaining)) fail('EVENTLOG_MALFORMED', `${field} ends behind its container`)
    return this.bytes(Number(length), field)
  }

  /** The next eight bytes as a number, without moving on. Fewer than eight left: malformed. */
  peekU64(field: string): bigint {
    const value = this.u64(field)
    this.#offset -= 8
    return value
  }

  #advance(length: number, field: string): number {
    if (length > this.remaining) fail('EVENTLOG_MALFORMED', `${field} ends behind its container`)
    const start = this.#offset
    this.#offset += length
    return start
  }
}
