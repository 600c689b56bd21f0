import {
  type HashAlgorithm,
  hashAlgorithms,
  initDataDigest,
  isJsonObject,
  JsonDecimal,
  type JsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
} from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { parse, type TomlTable, type TomlValue } from 'smol-toml'
import type { EvaluationItem } from './attestation-service.ts'

/** What init data gives to a verifier and to a policy (spec 02 §2.5). */
export interface InitData {
  /** Expected digest; undefined where no init data was sent. */
  readonly digest: Uint8Array | undefined
  /** The `[data]` table after its transformations; null for a bare digest. True only if the evidence carries the digest. */
  readonly claims: JsonValue
}

const digestSizes = [32, 48, 64]
const versionForm = /^0\.1\.\d{1,9}$/
/** A request body holds at most 2 MiB, and a generated agent policy takes some 60 KB. */
const maxBytes = 1024 * 1024
const maxEntries = 256
const maxDepth = 32

/**
 * Reads init data: a digest, or a TOML document whose digest covers its bytes exactly as sent.
 * @throws EvidenceRejected with `INPUT_INVALID` for a document that is too large, malformed, of an unknown version or
 * algorithm, and for a digest of a size that no algorithm gives.
 */
export function readInitData(initData: EvaluationItem['initData']): InitData {
  if (!initData) return { digest: undefined, claims: null }
  if (initData.kind === 'digest') {
    if (!digestSizes.includes(initData.bytes.length)) throw invalid('digest is not 32, 48 or 64 bytes long')
    return { digest: initData.bytes, claims: null }
  }
  assertTextSize(initData.text)
  const { algorithm, data } = readDocument(initData.text)
  return { digest: initDataDigest(initData.text, algorithm), claims: transformData(data) }
}

function assertTextSize(text: string): void {
  if (!text.isWellFormed()) throw invalid('document is not Unicode text')
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes) {
    throw invalid(`document exceeds ${maxBytes} bytes`)
  }
}

function readDocument(text: string): {
  algorithm: HashAlgorithm
  data: ReadonlyMap<string, string>
} {
  const document = parseToml(text)
  if (!document) throw invalid('document is not TOML')
  const { version, algorithm, data } = document
  if (typeof version !== 'string' || !versionForm.test(version)) throw invalid('version is not 0.1.x')
  // lower case only, unlike in messages: Trustee takes no other spelling here
  const hash = hashAlgorithms.find((name) => name === algorithm)
  if (hash === undefined) throw invalid(`algorithm is not one of ${hashAlgorithms.join(', ')}`)
  if (!isTomlTable(data)) throw invalid('there is no table "data"')
  const entries = Object.entries(data)
  if (entries.length > maxEntries) throw invalid(`more than ${maxEntries} entries in "data"`)
  return { algorithm: hash, data: new Map(entries.map(([name, value]) => [name, textEntry(value)])) }
}

function textEntry(value: TomlValue): string {
  if (typeof value !== 'string') throw invalid('an entry of "data" is not a string')
  return value
}

function transformData(data: ReadonlyMap<string, string>): JsonObject {
  const claims = jsonObject({})
  for (const [name, text] of data) {
    if (name === 'policy.rego') {
      const policyData = agentPolicyData(text)
      if (policyData && !data.has('agent_policy_claims')) claims.agent_policy_claims = policyData
      else claims[name] = text
    } else if (name === 'cdh.toml' || name === 'aa.toml') {
      claims[name] = tomlAsJson(text) ?? text
    } else {
      claims[name] = text
    }
  }
  return claims
}

const marker = 'policy_data := {'

/**
 * The object that a generated agent policy ends with: everything from the `{` of the first `policy_data := {` to the
 * end of the text, if that is JSON.
 *
 * Trustee takes the marker wherever it stands, so that a comment at the end can show a policy reader data that the
 * agent does not use. Here the marker has to be a rule of its own, at the start of its line, and the only one of this
 * name (spec 02 W-35).
 */
function agentPolicyData(rego: string): JsonObject | undefined {
  const at = rego.indexOf(marker)
  if (at === -1) return undefined
  const before = rego.slice(0, at)
  const lineStart = before.lastIndexOf('\n') + 1
  if (before.slice(lineStart).trim() !== '' || /^\s*(?:default\s+)?policy_data\b/m.test(before))
    return undefined
  try {
    const value = parseJson(rego.slice(at + marker.length - 1), { maxDepth })
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function tomlAsJson(text: string): JsonObject | undefined {
  const table = parseToml(text)
  return table && (asJson(table) as JsonObject)
}

function parseToml(text: string): TomlTable | undefined {
  try {
    // every integer a bigint, so that 1.0 is not taken for 1
    const table = parse(text, { integersAsBigInt: true, maxDepth })
    return depthOf(table) <= maxDepth ? table : undefined
  } catch {
    return undefined
  }
}

/** Dotted keys and table headers nest as well, and do not count for the parser's own limit. */
function depthOf(value: TomlValue): number {
  let depth = 0
  for (let level: TomlValue[] = [value]; level.length > 0 && depth <= maxDepth; depth++) {
    level = level.flatMap((member) =>
      Array.isArray(member) ? member : isTomlTable(member) ? Object.values(member) : [],
    )
  }
  return depth
}

function asJson(value: TomlValue): JsonValue {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'bigint') return safeInteger(value)
  if (typeof value === 'number') return Number.isFinite(value) ? decimal(value) : null
  if (Array.isArray(value)) return value.map(asJson)
  if (!isTomlTable(value)) return value.toString()
  const object = jsonObject({})
  for (const [name, member] of Object.entries(value)) object[name] = asJson(member)
  return object
}

function safeInteger(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

function decimal(value: number): JsonDecimal {
  const text = JSON.stringify(value)
  return new JsonDecimal(/[.e]/.test(text) ? text : `${text}.0`)
}

function isTomlTable(value: TomlValue | undefined): value is TomlTable {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date)
}

function invalid(detail: string): EvidenceRejected {
  return new EvidenceRejected('INPUT_INVALID', 'init-data', `init data: ${detail}`)
}
