import { createHash } from 'node:crypto'
import {
  decodeBase64,
  encodeHex,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
} from '@passport-kbs/protocol'

/** What Intel answers with status 400 and `{"error"}`. */
export class AppraisalError extends Error {
  override readonly name = 'AppraisalError'
}

/**
 * Binds quote and runtime data as Intel does (spec 02 §8.3) and gives the claims. The quote's signatures are left to the
 * tests of the verifiers.
 */
export function appraise(path: string, body: JsonObject): JsonObject {
  const azure = path.endsWith('/azure')
  const claims = jsonObject({})
  if (isJsonObject(body.tdx)) claims.tdx = azure ? azureClaims(body.tdx) : quoteClaims('tdx', body.tdx)
  if (isJsonObject(body.sgx) && !azure) claims.sgx = quoteClaims('sgx', body.sgx)
  if (Object.keys(claims).length === 0) throw new AppraisalError('no TEE evidence in request')
  if (body.nvgpu !== undefined) claims.nvgpu = gpuClaims(body.nvgpu)
  return claims
}

type QuoteTee = 'tdx' | 'sgx'

/** Offsets in the quote: a header of 48 bytes, then the report (Intel DCAP). */
const fields = {
  tdx: {
    reportData: [568, 64],
    configId: [48 + 184, 48],
    measurement: [48 + 136, 48],
    attributes: [48 + 120, 8],
  },
  sgx: {
    reportData: [368, 64],
    configId: [48 + 192, 64],
    measurement: [48 + 64, 32],
    attributes: [48 + 48, 8],
  },
} as const

function quoteClaims(tee: QuoteTee, member: JsonObject): JsonObject {
  const quote = bytesOf(member, 'quote')
  const runtimeData = bytesOf(member, 'runtime_data')
  const digest = createHash(tee === 'tdx' ? 'sha512' : 'sha256')
    .update(runtimeData)
    .digest()
  requireReportData(tee, quote, digest)
  return { ...reportClaims(tee, quote), attester_runtime_data: jsonOf(runtimeData) }
}

/** Azure: the paravisor's variable data are bound to the quote, and name the guest's digest as `user-data`. */
function azureClaims(member: JsonObject): JsonObject {
  const quote = bytesOf(member, 'quote')
  const variableData = bytesOf(member, 'runtime_data')
  const userData = bytesOf(member, 'user_data')
  requireReportData('tdx', quote, createHash('sha256').update(variableData).digest())
  const runtime = jsonOf(variableData)
  const digest = createHash('sha256').update(userData).digest('hex')
  const stated = isJsonObject(runtime) ? runtime['user-data'] : undefined
  if (typeof stated !== 'string' || !stated.toLowerCase().startsWith(digest))
    throw new AppraisalError('user data does not match')
  return {
    ...reportClaims('tdx', quote),
    attester_runtime_data: runtime,
    attester_user_data: jsonOf(userData),
  }
}

function requireReportData(tee: QuoteTee, quote: Buffer, digest: Buffer): void {
  if (!field(tee, 'reportData', quote).subarray(0, digest.length).equals(digest))
    throw new AppraisalError('runtime data does not match report data in the quote')
}

function reportClaims(tee: QuoteTee, quote: Buffer): JsonObject {
  const hex = (name: keyof (typeof fields)['tdx']) => encodeHex(field(tee, name, quote))
  const [attributes = 0] = field(tee, 'attributes', quote)
  const own =
    tee === 'tdx'
      ? { tdx_mrtd: hex('measurement'), tdx_mrconfigid: hex('configId') }
      : { sgx_mrenclave: hex('measurement'), sgx_config_id: hex('configId') }
  return jsonObject({
    attester_type: tee.toUpperCase(),
    attester_tcb_status: 'UpToDate',
    dbgstat: 'disabled',
    [`${tee}_report_data`]: hex('reportData'),
    [`${tee}_is_debuggable`]: (attributes & (tee === 'tdx' ? 1 : 2)) !== 0,
    ...own,
  })
}

function field(tee: QuoteTee, name: keyof (typeof fields)['tdx'], quote: Buffer): Buffer {
  const [at, size] = fields[tee][name]
  if (quote.length < at + size) throw new AppraisalError('quote is too short')
  return quote.subarray(at, at + size)
}

function gpuClaims(value: JsonValue): JsonObject {
  const known = isJsonObject(value) && /^[0-9a-f]{64}$/.test(String(value.gpu_nonce))
  if (!known || !Array.isArray(value.evidence_list)) throw new AppraisalError('unusable nvgpu')
  return jsonObject({ 'x-nvidia-overall-att-result': true, 'x-nvidia-gpu-count': value.evidence_list.length })
}

function bytesOf(member: JsonObject, name: string): Buffer {
  const text = member[name]
  if (typeof text !== 'string') throw new AppraisalError(`${name} is missing`)
  try {
    return Buffer.from(decodeBase64(text))
  } catch {
    throw new AppraisalError(`${name} is not base64`)
  }
}

function jsonOf(bytes: Uint8Array): JsonValue {
  try {
    return parseJson(bytes)
  } catch {
    throw new AppraisalError('runtime data is not JSON')
  }
}
