import { createHmac, timingSafeEqual } from 'node:crypto'
import { canonicalJson, encodeUtf8, type JsonValue, parseJson } from '@passport-kbs/protocol'
import { z } from 'zod'
import { KeyRefused, type KeyService, type Wrapping } from './key-service.ts'
import type { StorageKey } from './storage-keyring.ts'

/** Where wrapped keys are: one record in the storage that they encrypt. */
export const KEY_NAMESPACE = 'storage_keys'
export const KEY_RECORD = 'keyring.json'

/** Many more rotations than a store should remember. */
export const MAX_RECORDED_KEYS = 16
const maxRecordBytes = 262_144

const keyId = z.string().regex(/^[0-9a-f]{16}$/)
const word = z.string().min(1).max(16_384)

const recordedKeySchema = z.strictObject({
  id: keyId,
  added: z.iso.datetime(),
  /** Since when another is current. */
  superseded: z.iso.datetime().optional(),
  /** Kind of the service, and its key. */
  service: z.enum(['azure_key_vault', 'vault_transit']),
  key: z.string().min(1).max(1_024),
  key_version: z.string().min(1).max(64),
  algorithm: z.string().min(1).max(64),
  wrapped: word,
  signature: word.optional(),
})

const keyRecordSchema = z.strictObject({
  version: z.literal(1),
  /** One more with each change, so that a process that has seen a record knows an older one. */
  revision: z.int().min(1),
  current: keyId,
  keys: z.array(recordedKeySchema).min(1).max(MAX_RECORDED_KEYS),
  mac: z.string().regex(/^[0-9a-f]{64}$/),
})

/** A storage key, wrapped. */
export type RecordedKey = z.output<typeof recordedKeySchema>
/** The storage keys of one storage, wrapped, and which of them is current. */
export type KeyRecord = z.output<typeof keyRecordSchema>

/** @throws KeyRefused for what is no record, or has no current key, or one twice */
export function parseKeyRecord(bytes: Uint8Array): KeyRecord {
  const parsed = keyRecordSchema.safeParse(jsonOf(bytes))
  if (!parsed.success) throw new KeyRefused('the record of wrapped keys is malformed')
  const ids = parsed.data.keys.map(({ id }) => id)
  if (new Set(ids).size !== ids.length || !ids.includes(parsed.data.current)) {
    throw new KeyRefused('the record of wrapped keys has no current key, or a key twice')
  }
  return parsed.data
}

/**
 * The record as it is stored, authenticated by its current key.
 *
 * @throws KeyRefused for one that could not be read again, since a service has wrapped into something too large, say
 */
export function writeKeyRecord(record: Omit<KeyRecord, 'mac'>, current: StorageKey): Uint8Array {
  const bytes = encodeUtf8(`${JSON.stringify({ ...record, mac: macOf(record, current) }, undefined, 2)}\n`)
  parseKeyRecord(bytes)
  return bytes
}

/**
 * Whether who wrote the record had its current key: nobody else can make an earlier key current again, or take a key out.
 *
 * @throws KeyRefused
 */
export function assertAuthentic({ mac, ...record }: KeyRecord, current: StorageKey): void {
  if (!timingSafeEqual(Buffer.from(mac, 'hex'), Buffer.from(macOf(record, current), 'hex'))) {
    throw new KeyRefused('the record of wrapped keys was changed')
  }
}

function macOf(record: Omit<KeyRecord, 'mac'>, { key }: StorageKey): string {
  // a round trip leaves out what is undefined
  const text = canonicalJson(parseJson(JSON.stringify(record)))
  return createHmac('sha256', key).update(`passport-kbs key record\0${text}`).digest('hex')
}

/** What a wrapped key is bound to: it is a storage key, of this id, wrapped by this key of this service. */
export function bindingOf(service: Pick<KeyService, 'kind' | 'key'>, id: string): Uint8Array {
  return encodeUtf8(
    `passport-kbs storage key\0${KEY_NAMESPACE}/${KEY_RECORD}\0${service.kind}\0${service.key}\0${id}`,
  )
}

/** A wrapping as it is recorded. */
export function recordedWrapping({ kind, key }: KeyService, wrapping: Wrapping) {
  const { keyVersion, algorithm, wrapped, signature } = wrapping
  return {
    service: kind,
    key,
    key_version: keyVersion,
    algorithm,
    wrapped,
    ...(signature === undefined ? {} : { signature }),
  }
}

export function wrappingOf({ key_version, algorithm, wrapped, signature }: RecordedKey): Wrapping {
  return { keyVersion: key_version, algorithm, wrapped, ...(signature === undefined ? {} : { signature }) }
}

function jsonOf(bytes: Uint8Array): JsonValue | undefined {
  try {
    return parseJson(bytes, { maxBytes: maxRecordBytes, maxDepth: 4 })
  } catch {
    return undefined
  }
}
