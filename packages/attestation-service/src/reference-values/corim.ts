import { encodeHex, type JsonValue } from '@passport-kbs/protocol'
import { ReferenceValueError } from '../attestation-service.ts'
import { isSignedByTrusted, readCoseSign1 } from './cose-sign1.ts'
import { decodeCbor, Tagged } from './tagged-cbor.ts'
import type { ReferenceValueTrust } from './trusted-keys.ts'

/** What a CoRIM says. */
export interface CorimContent {
  readonly values: ReadonlyMap<string, JsonValue>
  /** Whether a trusted key has signed it. */
  readonly isSigned: boolean
  /** Its `rim-validity`, where it has one. */
  readonly notBefore: Date | undefined
  readonly notAfter: Date | undefined
}

const tags = { epochTime: 1, uuid: 37, corim: 501, comid: 506, bytes: 560 } as const
/** Map keys of draft-ietf-rats-corim. */
const corimKeys = { tags: 1, validity: 4 } as const
const validityKeys = { notBefore: 0, notAfter: 1 } as const
const comidTriples = 4
const referenceTriples = 0
const environmentClass = 0
const classKeys = { vendor: 1, model: 2 } as const
const measurementKeys = { key: 0, value: 1 } as const
const valueKeys = { digests: 2, rawValue: 4, serialNumber: 8, name: 11 } as const

/** Tags 500 and 502, in which early drafts wrap a CoRIM. */
const wrappers = [0xf4, 0xf6]

/**
 * Reads the reference triples of a CoRIM (draft-ietf-rats-corim; spec 02 §6.2). Digests of equal names are put
 * together, which Trustee does not do (W-4). A signature counts where a trusted key has made it; with trusted keys, one
 * that no trusted key has made is refused.
 * @throws ReferenceValueError
 */
export function readCorim(bytes: Uint8Array, trust: ReferenceValueTrust): CorimContent {
  const outer = decodeItem(withoutWrappers(bytes))
  const sign1 = readCoseSign1(outer)
  const isSigned = sign1 !== undefined && isSignedByTrusted(sign1, trust)
  if (sign1 !== undefined && !isSigned && trust.keys.length > 0)
    throw refused('is signed, but not by a trusted key')
  const corim = sign1 === undefined ? outer : decodeItem(withoutWrappers(sign1.payload))
  if (!(corim instanceof Tagged) || corim.tag !== tags.corim) throw refused('is not tagged as one (501)')
  const map = requireMap(corim.value, 'is not a map')
  const values = new Map<string, JsonValue>()
  for (const tag of requireArray(map.get(corimKeys.tags), 'has no tags')) {
    const comid = comidOf(tag)
    if (comid !== undefined) addReferenceValues(comid, values)
  }
  return { values, isSigned, ...validityOf(map.get(corimKeys.validity)) }
}

function withoutWrappers(bytes: Uint8Array): Uint8Array {
  let rest = bytes
  while (rest[0] === 0xd9 && rest[1] === 0x01 && wrappers.includes(rest[2] ?? 0)) rest = rest.subarray(3)
  return rest
}

/** A CoMID, also one that stands there as bare bytes; CoSWID and other tags are passed over. */
function comidOf(tag: unknown): ReadonlyMap<unknown, unknown> | undefined {
  if (tag instanceof Tagged && tag.tag === tags.comid) {
    if (!(tag.value instanceof Uint8Array)) throw refused('has a CoMID that is not a byte string')
    return requireMap(decodeItem(tag.value), 'has a CoMID that is not a map')
  }
  if (!(tag instanceof Uint8Array)) return undefined
  try {
    const item = decodeCbor(tag)
    return item instanceof Map ? item : undefined
  } catch {
    return undefined
  }
}

function addReferenceValues(comid: ReadonlyMap<unknown, unknown>, values: Map<string, JsonValue>): void {
  const triples = requireMap(comid.get(comidTriples), 'has a CoMID without triples')
  for (const triple of requireArray(
    triples.get(referenceTriples) ?? [],
    'has no list of reference triples',
  )) {
    const [environment, measurements] = requireArray(triple, 'has a reference triple that is no list')
    const path = classPath(requireMap(environment, 'has a reference triple without environment'))
    for (const measurement of requireArray(measurements, 'has a reference triple without measurements'))
      addMeasurement(requireMap(measurement, 'has a measurement that is not a map'), path, values)
  }
}

/** Vendor and model, as far as they are given. */
function classPath(environment: ReadonlyMap<unknown, unknown>): readonly string[] {
  const described = environment.get(environmentClass)
  if (described === undefined) return []
  const map = requireMap(described, 'has a class that is not a map')
  return [map.get(classKeys.vendor), map.get(classKeys.model)].filter((part) => typeof part === 'string')
}

function addMeasurement(
  measurement: ReadonlyMap<unknown, unknown>,
  classParts: readonly string[],
  values: Map<string, JsonValue>,
): void {
  const value = requireMap(measurement.get(measurementKeys.value), 'has a measurement without value')
  const own = [
    keyText(measurement.get(measurementKeys.key)),
    value.get(valueKeys.name),
    value.get(valueKeys.serialNumber),
  ]
  const path = [...classParts, ...own.filter((part) => typeof part === 'string')]
  const digests = value.get(valueKeys.digests)
  if (digests !== undefined) {
    const name = [...path, 'digests'].join('/')
    const known = values.get(name) ?? []
    const all = [...(Array.isArray(known) ? known : []), ...readDigests(digests)]
    values.set(name, [...new Set(all)])
  }
  const raw = value.get(valueKeys.rawValue)
  if (raw instanceof Tagged && raw.tag === tags.bytes) {
    if (!(raw.value instanceof Uint8Array)) throw refused('has a raw value that is not bytes')
    const name = [...path, 'raw_bytes'].join('/')
    const text = encodeHex(raw.value)
    if (values.has(name) && values.get(name) !== text) throw refused('has two raw values of one name')
    values.set(name, text)
  }
}

/** Text as it is, a number as `claim<n>`, a UUID as it is written; other kinds have no part in the name. */
function keyText(key: unknown): string | undefined {
  if (typeof key === 'string') return key
  if (
    (typeof key === 'number' && Number.isInteger(key) && key >= 0) ||
    (typeof key === 'bigint' && key >= 0n)
  )
    return `claim${key}`
  if (!(key instanceof Tagged) || key.tag !== tags.uuid || !(key.value instanceof Uint8Array))
    return undefined
  if (key.value.length !== 16) throw refused('has a UUID that is not 16 bytes')
  return encodeHex(key.value).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function readDigests(digests: unknown): readonly string[] {
  return requireArray(digests, 'has digests that are no list').map((digest) => {
    const [, bytes, ...rest] = requireArray(digest, 'has a digest that is no pair')
    if (!(bytes instanceof Uint8Array) || rest.length > 0) throw refused('has a digest that is no pair')
    return encodeHex(bytes)
  })
}

function validityOf(validity: unknown): Pick<CorimContent, 'notBefore' | 'notAfter'> {
  if (validity === undefined) return { notBefore: undefined, notAfter: undefined }
  const map = requireMap(validity, 'has a validity that is not a map')
  const time = (key: number): Date | undefined => {
    const value = map.get(key)
    if (value === undefined) return undefined
    const seconds = value instanceof Tagged && value.tag === tags.epochTime ? value.value : undefined
    if (typeof seconds !== 'number' || Math.abs(seconds) > 253_402_300_799)
      throw refused('has a validity that is not in epoch time')
    return new Date(seconds * 1000)
  }
  return { notBefore: time(validityKeys.notBefore), notAfter: time(validityKeys.notAfter) }
}

function decodeItem(bytes: Uint8Array): unknown {
  try {
    return decodeCbor(bytes)
  } catch (cause) {
    throw refused('is not CBOR', cause)
  }
}

function requireMap(value: unknown, otherwise: string): ReadonlyMap<unknown, unknown> {
  if (value instanceof Map) return value
  throw refused(otherwise)
}

function requireArray(value: unknown, otherwise: string): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw refused(otherwise)
}

function refused(what: string, cause?: unknown): ReferenceValueError {
  return new ReferenceValueError(`the CoRIM ${what}`, cause === undefined ? {} : { cause })
}
