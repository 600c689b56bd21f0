import { isJsonObject, type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'
import { AttestationPolicyError } from './attestation-service.ts'

/** The member of every submod that names the policy text applied. */
export const policyExtension = 'ear.passport-kbs.policy'

/** Members that the service itself writes, or that EAR and EAT define (spec 02 §3.2, §3.3, §3.8). */
const coreNames = new Set([
  'ear.status',
  'ear.trustworthiness-vector',
  'ear.appraisal-policy-id',
  'ear.veraison.annotated-evidence',
  'ear.veraison.policy-claims',
  'ear.veraison.key-attestation',
  'ear.raw-evidence',
  'ear.verifier-id',
  'eat_nonce',
  'eat_profile',
  'submods',
  'iat',
  'nbf',
  'exp',
  'iss',
  'aud',
  'sub',
  'jti',
])

/** CBOR keys of the same members. */
const coreKeys = new Set([4, 6, 10, 265, 266, 1000, 1001, 1002, 1003, 1004, -70000, -70001, -70002])

const maxExtensions = 64
const maxNameLength = 256

/**
 * Reads the `extensions` of a policy: members that it adds to its submod, in order of their names (spec 02 §2.9). One
 * with the value null is checked and left out.
 * @throws AttestationPolicyError unless it is an array of `{name, key, value}` with names and 32-bit keys that differ
 * from each other and from those of core members.
 */
export function readExtensions(value: JsonValue): JsonObject {
  if (!Array.isArray(value)) throw new AttestationPolicyError('extensions is not an array')
  if (value.length > maxExtensions) throw new AttestationPolicyError(`more than ${maxExtensions} extensions`)
  const members = new Map<string, JsonValue>()
  const keys = new Set<number>()
  for (const entry of value) {
    const extension = readExtension(entry)
    if (members.has(extension.name)) throw problem(extension.name, 'is there twice')
    if (keys.has(extension.key)) throw problem(extension.name, 'has the key of another extension')
    members.set(extension.name, extension.value)
    keys.add(extension.key)
  }
  const present = [...members].filter(([, member]) => member !== null)
  return jsonObject(Object.fromEntries(present.sort(([a], [b]) => (a < b ? -1 : 1))))
}

function readExtension(entry: JsonValue): { name: string; key: number; value: JsonValue } {
  if (!isJsonObject(entry)) throw new AttestationPolicyError('an extension is not an object')
  const { name, key, value } = entry
  if (typeof name !== 'string' || name === '' || name.length > maxNameLength) {
    throw new AttestationPolicyError(`an extension has no name of 1 to ${maxNameLength} characters`)
  }
  if (coreNames.has(name) || name.startsWith('ear.passport-kbs.') || name === '__proto__') {
    throw problem(name, 'has the name of a member that the service writes')
  }
  if (typeof key !== 'number' || !Number.isInteger(key) || key < -(2 ** 31) || key >= 2 ** 31) {
    throw problem(name, 'has no key that is a 32-bit integer')
  }
  if (coreKeys.has(key)) throw problem(name, 'has the key of a member that the service writes')
  if (value === undefined) throw problem(name, 'has no value')
  return { name, key, value }
}

function problem(name: string, what: string): AttestationPolicyError {
  return new AttestationPolicyError(`the extension ${JSON.stringify(name.slice(0, 64))} ${what}`)
}
