import type { JsonObject, JsonValue } from '@passport-kbs/protocol'
import { arrayOf, byteArrayOf, member, objectOf, unsignedOf } from '../evidence-json.ts'
import { caCertificateSize, csvCertificateSize } from './hygon-certificate.ts'
import { numberFieldSize } from './hygon-number.ts'

/**
 * The binary form of a CA certificate (HSK) that the guest sent as JSON (spec 04 §9.2). All later work is on the bytes.
 * @param path names the certificate in a rejection.
 * @throws CheckFailure EVIDENCE_MALFORMED.
 */
export function caCertificateBytes(value: JsonValue | undefined, path: string): Uint8Array {
  const certificate = fieldsOf(value, path)
  const body = certificate.fields('body')
  const preamble = body.fields('preamble')
  const data = preamble.fields('data')
  const writer = new FieldWriter(caCertificateSize)
  writer.u32(preamble.u32('ver'))
  writer.bytes(data.bytes('kid', 16))
  writer.bytes(data.bytes('sid', 16))
  writer.u32(data.u32('usage'))
  writer.bytes(data.bytes('reserved', 24))
  writePublicKey(writer, body.fields('pubkey'))
  writer.u16(body.u16('uid_size'))
  writer.bytes(body.bytes('user_id', 254))
  writer.bytes(body.bytes('reserved', 108))
  writeSignature(writer, certificate.fields('signature'))
  writer.bytes(certificate.bytes('_reserved', 112))
  return writer.finished()
}

/**
 * The binary form of a CSV certificate (CEK, PEK) that the guest sent as JSON (spec 04 §9.2).
 * @param path names the certificate in a rejection.
 * @throws CheckFailure EVIDENCE_MALFORMED.
 */
export function csvCertificateBytes(value: JsonValue | undefined, path: string): Uint8Array {
  const certificate = fieldsOf(value, path)
  const body = certificate.fields('body')
  const data = body.fields('data')
  const firmware = data.fields('firmware')
  const publicKey = data.fields('pubkey')
  const writer = new FieldWriter(csvCertificateSize)
  writer.u32(body.u32('ver'))
  writer.u8(firmware.u8('major'))
  writer.u8(firmware.u8('minor'))
  writer.u16(data.u16('reserved1'))
  writer.u32(publicKey.u32('usage'))
  writer.u32(publicKey.u32('algo'))
  writePublicKey(writer, publicKey.fields('key'))
  writer.u16(data.u16('uid_size'))
  writer.bytes(data.bytes('user_id', 254))
  writer.bytes(data.bytes('sid', 16))
  writer.bytes(data.bytes('reserved2', 608))
  for (const slot of certificate.list('sigs', 2)) {
    writer.u32(slot.u32('usage'))
    writer.u32(slot.u32('algo'))
    writeSignature(writer, slot.fields('signature'))
    writer.bytes(slot.bytes('_reserved', 368))
  }
  return writer.finished()
}

function writePublicKey(writer: FieldWriter, key: Fields): void {
  writer.u32(key.u32('g'))
  writer.bytes(key.bytes('x', numberFieldSize))
  writer.bytes(key.bytes('y', numberFieldSize))
}

function writeSignature(writer: FieldWriter, signature: Fields): void {
  writer.bytes(signature.bytes('r', numberFieldSize))
  writer.bytes(signature.bytes('s', numberFieldSize))
}

/** The members of an object of the certificate's JSON form, each required and of its size. */
class Fields {
  readonly #object: JsonObject
  readonly #path: string

  constructor(object: JsonObject, path: string) {
    this.#object = object
    this.#path = path
  }

  fields(name: string): Fields {
    return fieldsOf(this.#member(name), this.#pathOf(name))
  }

  /** An array of exactly `count` objects. */
  list(name: string, count: number): Fields[] {
    const path = this.#pathOf(name)
    const entries = arrayOf(this.#member(name), path, count)
    // `fieldsOf` refuses the undefined behind the end of a shorter array
    return Array.from({ length: count }, (_, index) => fieldsOf(entries[index], `${path}[${index}]`))
  }

  u8(name: string): number {
    return unsignedOf(this.#member(name), this.#pathOf(name), 0xff)
  }

  u16(name: string): number {
    return unsignedOf(this.#member(name), this.#pathOf(name), 0xffff)
  }

  u32(name: string): number {
    return unsignedOf(this.#member(name), this.#pathOf(name), 0xffff_ffff)
  }

  bytes(name: string, length: number): Uint8Array {
    return byteArrayOf(this.#member(name), this.#pathOf(name), { length })
  }

  #member(name: string): JsonValue | undefined {
    return member(this.#object, name)
  }

  #pathOf(name: string): string {
    return `${this.#path}.${name}`
  }
}

function fieldsOf(value: JsonValue | undefined, path: string): Fields {
  return new Fields(objectOf(value, path), path)
}

/** Writes little-endian fields one after another into a structure of a known size. */
class FieldWriter {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0

  constructor(size: number) {
    this.#bytes = new Uint8Array(size)
    this.#view = new DataView(this.#bytes.buffer)
  }

  u8(value: number): void {
    this.#view.setUint8(this.#advance(1), value)
  }

  u16(value: number): void {
    this.#view.setUint16(this.#advance(2), value, true)
  }

  u32(value: number): void {
    this.#view.setUint32(this.#advance(4), value, true)
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#advance(value.length))
  }

  /** The structure, which every field together must have filled. */
  finished(): Uint8Array {
    if (this.#offset !== this.#bytes.length) throw new RangeError('structure not filled')
    return this.#bytes
  }

  #advance(size: number): number {
    const start = this.#offset
    this.#offset += size
    return start
  }
}
