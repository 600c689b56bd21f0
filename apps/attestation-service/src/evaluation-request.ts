import type { EvaluationItem } from '@passport-kbs/attestation-service'
import {
  decodeBase64Url,
  decodeUtf8,
  EncodingError,
  JsonSyntaxError,
  type JsonValue,
  parseHashAlgorithm,
  parseJson,
  parseTee,
} from '@passport-kbs/protocol'
import { malformed } from './problems.ts'

/** What both transports say of one piece of evidence; absent members were not sent. */
export interface IndividualRequest {
  readonly tee: string
  /** base64url of the JSON text. */
  readonly evidence: string
  readonly rawRuntimeData?: string | undefined
  readonly structuredRuntimeData?: JsonValue | undefined
  readonly initDataDigest?: string | undefined
  readonly initDataToml?: string | undefined
  /** Absent: SHA-384. */
  readonly hashAlgorithm?: string | undefined
}

export interface EvaluationRequest {
  readonly requests: readonly IndividualRequest[]
  readonly policyIds: readonly string[]
}

/** One table of names for both transports (spec 02 §1.3, W-21). @throws KbsProblem 400, naming the member. */
export function evaluationItem(request: IndividualRequest, path: string): EvaluationItem {
  const tee = parseTee(request.tee)
  if (tee === undefined) throw malformed(`${path}.tee: unknown TEE`)
  const hash = parseHashAlgorithm(request.hashAlgorithm ?? 'sha384')
  if (hash === undefined)
    throw malformed(`${path}.runtime_data_hash_algorithm: not sha256, sha384, sha512 or sm3`)
  return {
    tee,
    evidence: parseJsonMember(decodeMember(request.evidence, `${path}.evidence`), `${path}.evidence`),
    runtimeDataHash: hash,
    ...runtimeDataOf(request, path),
    ...initDataOf(request, path),
  }
}

/** @throws KbsProblem 400 */
export function parseJsonMember(text: string | Uint8Array, path: string): JsonValue {
  try {
    return parseJson(text)
  } catch (cause) {
    if (!(cause instanceof JsonSyntaxError)) throw cause
    throw malformed(`${path}: not JSON`, cause)
  }
}

/** @throws KbsProblem 400 */
export function decodeText(encoded: string, path: string): string {
  const bytes = decodeMember(encoded, path)
  try {
    return decodeUtf8(bytes)
  } catch (cause) {
    throw malformed(`${path}: not UTF-8`, cause)
  }
}

function decodeMember(encoded: string, path: string): Uint8Array {
  try {
    return decodeBase64Url(encoded)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw malformed(`${path}: not base64url`, cause)
  }
}

function runtimeDataOf(
  { rawRuntimeData: raw, structuredRuntimeData: value }: IndividualRequest,
  path: string,
): Pick<EvaluationItem, 'runtimeData'> {
  if (raw !== undefined && value !== undefined)
    throw malformed(`${path}.runtime_data: both raw and structured`)
  if (raw !== undefined)
    return { runtimeData: { kind: 'raw', bytes: decodeMember(raw, `${path}.runtime_data.raw`) } }
  return value === undefined ? {} : { runtimeData: { kind: 'structured', value } }
}

function initDataOf(
  { initDataDigest: digest, initDataToml: text }: IndividualRequest,
  path: string,
): Pick<EvaluationItem, 'initData'> {
  if (digest !== undefined && text !== undefined) throw malformed(`${path}.init_data: both digest and TOML`)
  if (digest !== undefined)
    return { initData: { kind: 'digest', bytes: decodeMember(digest, `${path}.init_data.init_data_digest`) } }
  return text === undefined ? {} : { initData: { kind: 'toml', text } }
}
