/** The mutation language of the vector folders (spec 03 §13 and the README of each folder). */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  decodeBase64,
  decodeBase64Url,
  decodeHex,
  encodeBase64,
  encodeHex,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseJson,
  stringifyJson,
} from '@passport-kbs/protocol'

/** The vector itself is wrong: an unknown operation, a path that leads nowhere, a missing file. */
export class VectorError extends Error {
  override readonly name = 'VectorError'
}

type PathStep = string | number

/**
 * Applies `mutations` in order to a JSON document.
 * @param text the document as in the file; kept as it is when there are no mutations
 * @param folder where `{"$file": ...}` values are read from
 * @returns the text of the changed document, which need not be valid JSON any more
 */
export function mutateJson(text: string, mutations: readonly JsonValue[], folder: string): string {
  let current = text
  let value: JsonValue | undefined
  for (const mutation of mutations) {
    if (!isJsonObject(mutation)) throw new VectorError('a mutation is not an object')
    if (mutation.op === 'text-replace') {
      current = replaceFirst(value === undefined ? current : stringifyJson(value), mutation)
      value = undefined
    } else {
      value = applyToValue(value ?? parseVector(current), mutation, folder)
    }
  }
  return value === undefined ? current : stringifyJson(value)
}

/** Applies `bytes-*` mutations in order to the content of a file. */
export function mutateBytes(bytes: Uint8Array, mutations: readonly JsonValue[]): Uint8Array {
  let current = bytes
  for (const mutation of mutations) {
    if (!isJsonObject(mutation)) throw new VectorError('a mutation is not an object')
    current = changeBytes(current, mutation)
  }
  return current
}

/** Parses a vector file; far deeper nesting than evidence may have is allowed, so that a case can be about it. */
export function parseVector(text: string | Uint8Array): JsonValue {
  return parseJson(text, { maxDepth: 512 })
}

/** The first occurrence, in the text as it is or else in its compact form. */
function replaceFirst(text: string, mutation: JsonObject): string {
  const find = textField(mutation, 'find')
  const replacement = textField(mutation, 'replace')
  const target = text.includes(find) ? text : stringifyJson(parseVector(text))
  if (!target.includes(find)) throw new VectorError('text-replace finds nothing')
  return target.replace(find, () => replacement)
}

function applyToValue(root: JsonValue, mutation: JsonObject, folder: string): JsonValue {
  const path = pathOf(mutation)
  switch (mutation.op) {
    case 'json-set':
      return setAt(root, path, resolveFiles(mutation.value ?? null, folder))
    case 'json-delete':
      return deleteAt(root, path)
    case 'json-append':
      return appendAt(root, path, resolveFiles(mutation.value ?? null, folder))
    case 'string-replace':
      return setAt(root, path, replaceInString(valueAt(root, path), mutation))
    default:
      return setAt(root, path, changeEncoded(valueAt(root, path), mutation))
  }
}

function pathOf(mutation: JsonObject): readonly PathStep[] {
  const path = mutation.path
  if (!Array.isArray(path)) throw new VectorError(`${String(mutation.op)} without a path`)
  return path.map((step) => {
    if (typeof step !== 'string' && typeof step !== 'number') throw new VectorError('bad path step')
    return step
  })
}

function textField(mutation: JsonObject, name: string): string {
  const text = mutation[name]
  if (typeof text !== 'string') throw new VectorError(`${String(mutation.op)} without ${name}`)
  return text
}

function numberField(mutation: JsonObject, name: string): number {
  const number = mutation[name]
  if (typeof number !== 'number') throw new VectorError(`${String(mutation.op)} without ${name}`)
  return number
}

function child(container: JsonValue, step: PathStep): JsonValue {
  const value = Array.isArray(container)
    ? container[Number(step)]
    : isJsonObject(container)
      ? container[step]
      : undefined
  if (value === undefined) throw new VectorError(`path step ${step} leads nowhere`)
  return value
}

function valueAt(root: JsonValue, path: readonly PathStep[]): JsonValue {
  return path.reduce(child, root)
}

function containerOf(root: JsonValue, path: readonly PathStep[]): { container: JsonValue; step: PathStep } {
  const step = path.at(-1)
  if (step === undefined) throw new VectorError('empty path')
  return { container: valueAt(root, path.slice(0, -1)), step }
}

function setAt(root: JsonValue, path: readonly PathStep[], value: JsonValue): JsonValue {
  if (path.length === 0) return value
  const { container, step } = containerOf(root, path)
  if (Array.isArray(container)) container[Number(step)] = value
  else if (isJsonObject(container)) container[step] = value
  else throw new VectorError(`path step ${step} leads nowhere`)
  return root
}

function deleteAt(root: JsonValue, path: readonly PathStep[]): JsonValue {
  const { container, step } = containerOf(root, path)
  child(container, step)
  if (Array.isArray(container)) container.splice(Number(step), 1)
  else if (isJsonObject(container)) delete container[step]
  return root
}

function appendAt(root: JsonValue, path: readonly PathStep[], value: JsonValue): JsonValue {
  const list = valueAt(root, path)
  if (!Array.isArray(list)) throw new VectorError('json-append to something that is not an array')
  list.push(value)
  return root
}

function replaceInString(value: JsonValue, mutation: JsonObject): string {
  const find = textField(mutation, 'find')
  const replacement = textField(mutation, 'replace')
  if (typeof value !== 'string' || !value.includes(find))
    throw new VectorError('string-replace finds nothing')
  return value.replace(find, () => replacement)
}

/** Replaces every `{"$file": name, "as": form}` inside `value` by what the file holds. */
function resolveFiles(value: JsonValue, folder: string): JsonValue {
  if (Array.isArray(value)) return value.map((entry) => resolveFiles(entry, folder))
  if (!isJsonObject(value)) return value
  if (typeof value.$file === 'string') return fileValue(value, value.$file, folder)
  const resolved: JsonObject = Object.create(null)
  for (const [name, entry] of Object.entries(value)) resolved[name] = resolveFiles(entry, folder)
  return resolved
}

function fileValue(reference: JsonObject, name: string, folder: string): JsonValue {
  const content = readFileSync(join(folder, name))
  // only JSON has paths
  const form = reference.as ?? (reference.path === undefined ? 'u8array' : 'json')
  switch (form) {
    case 'u8array':
      return [...content]
    case 'hex':
    case 'base64':
    case 'base64url':
      return encodeBytes(content, form)
    case 'text':
      return content.toString('utf8')
    case 'json': {
      const value = parseVector(content)
      return reference.path === undefined ? value : valueAt(value, pathOf(reference))
    }
    default:
      throw new VectorError(`$file as ${String(form)}`)
  }
}

function changeEncoded(value: JsonValue, mutation: JsonObject): JsonValue {
  return encodeBytes(changeBytes(decodeBytes(value, mutation.enc), mutation), mutation.enc)
}

function decodeBytes(value: JsonValue, encoding: JsonValue | undefined): Uint8Array {
  if (encoding === 'u8array' && Array.isArray(value)) return Uint8Array.from(value.map(Number))
  if (typeof value !== 'string') throw new VectorError(`value is not ${String(encoding)}`)
  if (encoding === 'hex') return decodeHex(value)
  if (encoding === 'base64') return decodeBase64(value)
  if (encoding === 'base64url') return decodeBase64Url(value)
  throw new VectorError(`unknown encoding ${String(encoding)}`)
}

/** base64url is written with padding, as the vectors expect. */
function encodeBytes(bytes: Uint8Array, encoding: JsonValue | undefined): JsonValue {
  if (encoding === 'u8array') return [...bytes]
  if (encoding === 'hex') return encodeHex(bytes)
  if (encoding === 'base64') return encodeBase64(bytes)
  return encodeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_')
}

function changeBytes(bytes: Uint8Array, mutation: JsonObject): Uint8Array {
  switch (mutation.op) {
    case 'bytes-xor':
      return withByte(bytes, mutation, (byte, value) => byte ^ value)
    case 'bytes-set':
      return withByte(bytes, mutation, (_byte, value) => value)
    case 'bytes-append':
      return Buffer.concat([bytes, decodeHex(textField(mutation, 'hex'))])
    case 'bytes-truncate':
      return bytes.slice(0, numberField(mutation, 'length'))
    case 'bytes-splice': {
      const from = numberField(mutation, 'offset')
      const to = from + numberField(mutation, 'remove')
      return Buffer.concat([bytes.slice(0, from), decodeHex(textField(mutation, 'hex')), bytes.slice(to)])
    }
    default:
      throw new VectorError(`unknown operation ${String(mutation.op)}`)
  }
}

function withByte(
  bytes: Uint8Array,
  mutation: JsonObject,
  change: (byte: number, value: number) => number,
): Uint8Array {
  const offset = numberField(mutation, 'offset')
  const byte = bytes[offset]
  if (byte === undefined) throw new VectorError(`offset ${offset} past the end`)
  const changed = Uint8Array.from(bytes)
  changed[offset] = change(byte, numberField(mutation, 'value'))
  return changed
}
