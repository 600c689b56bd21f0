import { createHash } from 'node:crypto'
import {
  encodeUtf8,
  isJsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
} from '@passport-kbs/protocol'
import { isStorageKey, type KeyValueStore } from '@passport-kbs/storage'
import { ReferenceValueError } from './attestation-service.ts'
import { readReferenceValueMessage } from './reference-values/message.ts'
import type { ReferenceValueTrust } from './reference-values/trusted-keys.ts'

/** Reference values by name (spec 02 §6). */
export interface ReferenceValues {
  /** Checks a message as a whole, then writes all of its values or none. Answers their names. */
  register(envelope: JsonValue, now: Date): Promise<readonly string[]>
  query(name: string, now: Date): Promise<JsonValue | undefined>
  /** Several values in one round trip, in the order asked; undefined where a value is unknown or has expired. */
  queryMany(names: readonly string[], now: Date): Promise<readonly (JsonValue | undefined)[]>
}

interface ReferenceValue {
  readonly name: string
  readonly expiration: Date
  readonly value: JsonValue
}

const recordVersion = '0.1.0'
const maxNames = 1_000
const maxNameLength = 512
const maxValueBytes = 1024 * 1024
/** A payload may nest 32 deep, and its values stand in a record. */
const maxRecordDepth = 40
const validityMonths = 12

/**
 * Keeps reference values in a store, in the records that Trustee writes. A value counts until its expiration, and
 * never after it, which Trustee does not look at (spec 02 W-3).
 */
export function createReferenceValues(
  store: KeyValueStore,
  trust: ReferenceValueTrust = { keys: [], requireSigned: false },
): ReferenceValues {
  let lastRegistration: Promise<unknown> = Promise.resolve()

  const queryMany = async (names: readonly string[], now: Date) => {
    const keys = names.map((name) => (isReferenceValueName(name) ? storageKeyOf(name) : undefined))
    const records = await store.getMany(keys.filter((key) => key !== undefined))
    let next = 0
    return names.map((name, index) => {
      const bytes = keys[index] === undefined ? undefined : records[next++]
      if (bytes === undefined) return undefined
      const record = readRecord(name, bytes)
      return record.expiration > now ? record.value : undefined
    })
  }

  const register = async (envelope: JsonValue, now: Date) => {
    const values = readEnvelope(envelope, now, trust)
    const records = values.map((value) => [storageKeyOf(value.name), writeRecord(value)] as const)
    // one after the other, so that what one takes back is never what another has just written
    const registration = lastRegistration.then(() => writeAll(store, records))
    lastRegistration = registration.catch(() => undefined)
    await registration
    return values.map(({ name }) => name)
  }

  return { register, queryMany, query: async (name, now) => (await queryMany([name], now))[0] }
}

/** Whether a reference value may have this name: 1 to 512 characters, no control characters. */
export function isReferenceValueName(name: string): boolean {
  return name !== '' && name.length <= maxNameLength && name.isWellFormed() && !/\p{Cc}/u.test(name)
}

const plainName = /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/
const hashedName = 'sha256-'

/**
 * The key of a name: the name itself wherever Trustee could have stored it, so that both find the same record. RVPS
 * URIs and CoRIM names, which its stores refuse, get the hash of the name (spec 02 W-16).
 */
export function storageKeyOf(name: string): string {
  const isPlain = plainName.test(name) && isStorageKey(name) && !name.startsWith(hashedName)
  return isPlain ? name : hashedName + createHash('sha256').update(name).digest('hex')
}

/** @throws ReferenceValueError unless every part of the message can be taken. */
function readEnvelope(envelope: JsonValue, now: Date, trust: ReferenceValueTrust): readonly ReferenceValue[] {
  const { values, expiration, notBefore, notAfter } = readReferenceValueMessage(envelope, trust)
  if (notBefore !== undefined && notBefore > now)
    throw new ReferenceValueError('the values are not valid yet')
  const asked = expiration === undefined ? addMonths(now, validityMonths) : readExpiration(expiration)
  const until = notAfter !== undefined && notAfter < asked ? notAfter : asked
  if (until <= now) throw new ReferenceValueError('the expiration is not in the future')
  if (values.size === 0) throw new ReferenceValueError('the payload has no reference value')
  if (values.size > maxNames)
    throw new ReferenceValueError(`the payload has more than ${maxNames} reference values`)
  for (const [name, value] of values) assertReferenceValue(name, value)
  return [...values].map(([name, value]) => ({ name, value, expiration: until }))
}

function assertReferenceValue(name: string, value: JsonValue): void {
  if (!isReferenceValueName(name)) {
    throw new ReferenceValueError(
      `a name is empty, longer than ${maxNameLength} characters, or has control characters`,
    )
  }
  if (Buffer.byteLength(stringifyJson(value)) > maxValueBytes) {
    throw new ReferenceValueError(
      `the value of ${JSON.stringify(name)} is larger than ${maxValueBytes} bytes`,
    )
  }
}

const expirationForm = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/

function readExpiration(value: JsonValue | undefined): Date {
  const date = typeof value === 'string' && expirationForm.test(value) ? new Date(value) : undefined
  // a day that a month does not have would be read as one of the next month
  if (!date || Number.isNaN(date.getTime()) || writeExpiration(date) !== value) {
    throw new ReferenceValueError('an expiration is not a time of the form YYYY-MM-DDThh:mm:ssZ')
  }
  return date
}

function writeExpiration(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`
}

/** The same day of a later month, or its last day. */
function addMonths(date: Date, months: number): Date {
  const later = new Date(date)
  later.setUTCMilliseconds(0)
  later.setUTCMonth(date.getUTCMonth() + months)
  if (later.getUTCDate() !== date.getUTCDate()) later.setUTCDate(0)
  return later
}

function writeRecord({ name, expiration, value }: ReferenceValue): Uint8Array {
  const record = jsonObject({ version: recordVersion, name, expiration: writeExpiration(expiration), value })
  return encodeUtf8(stringifyJson(record))
}

function readRecord(name: string, bytes: Uint8Array): ReferenceValue {
  let record: JsonValue
  try {
    record = parseJson(bytes, { maxBytes: 2 * maxValueBytes, maxDepth: maxRecordDepth })
  } catch (cause) {
    throw new ReferenceValueError(`the stored record of ${JSON.stringify(name)} is not JSON`, { cause })
  }
  if (!isJsonObject(record)) {
    throw new ReferenceValueError(`the stored record of ${JSON.stringify(name)} is not an object`)
  }
  const { version = recordVersion, name: storedName, expiration, value } = record
  if (version !== recordVersion || storedName !== name || value === undefined) {
    throw new ReferenceValueError(
      `the stored record of ${JSON.stringify(name)} is not one of version ${recordVersion}`,
    )
  }
  return { name, expiration: readExpiration(expiration), value }
}

/** Writes all records; when one fails, puts back what was there before and throws what made it fail. */
async function writeAll(
  store: KeyValueStore,
  records: readonly (readonly [string, Uint8Array])[],
): Promise<void> {
  const before = await store.getMany(records.map(([key]) => key))
  let tried = 0
  try {
    for (const [key, bytes] of records) {
      tried++
      await store.set(key, bytes)
    }
  } catch (cause) {
    await restore(store, records.slice(0, tried), before, cause)
    throw cause
  }
}

async function restore(
  store: KeyValueStore,
  written: readonly (readonly [string, Uint8Array])[],
  before: readonly (Uint8Array | undefined)[],
  cause: unknown,
): Promise<void> {
  try {
    for (const [index, [key, bytes]] of written.entries()) {
      const former = before[index]
      // where another replica has written since, its value stays
      if (former) await store.compareAndSet(key, bytes, former)
      else if (isSame(await store.get(key), bytes)) await store.delete(key)
    }
  } catch {
    throw new ReferenceValueError(
      'the store failed while the values were written, and again while they were taken back: some of them may be new; register the message again',
      { cause },
    )
  }
}

function isSame(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0
}
