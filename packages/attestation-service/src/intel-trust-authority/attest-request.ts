import { createHash } from 'node:crypto'
import {
  canonicalJson,
  decodeBase64,
  EncodingError,
  encodeBase64,
  encodeHex,
  encodeUtf8,
  type JsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
  type Tee,
} from '@passport-kbs/protocol'
import {
  CheckFailure,
  EvidenceRejected,
  parseAzureTdxEvidence,
  parseHclReport,
} from '@passport-kbs/tee-evidence'
import { z } from 'zod'
import type { EvaluationItem, RuntimeDataHash } from '../attestation-service.ts'
import { readInitData } from '../init-data.ts'

/** What Intel is asked to verify, and what its token then has to say. */
export interface AttestRequest {
  readonly path: '/appraisal/v2/attest' | '/appraisal/v2/attest/azure'
  /** JSON text. */
  readonly body: string
  readonly expected: ExpectedEvidence
}

/** How the token is bound to this very evidence. */
export interface ExpectedEvidence {
  readonly tee: IntelTee
  /** The claim that holds the runtime data, with the TEE's key and our nonce. */
  readonly runtimeDataClaim: 'attester_runtime_data' | 'attester_user_data'
  readonly runtimeData: JsonValue
  /** The report data of the quote begin with these bytes. */
  readonly reportData: Uint8Array
  readonly initDataDigest: Uint8Array | undefined
  readonly hasGpu: boolean
}

/** Policies as Intel knows them. */
export interface PolicyChoice {
  /** UUIDs. */
  readonly policyIds: readonly string[]
  readonly allowUnmatchedPolicy: boolean
}

/** The hash that Intel checks the report data with (spec 02 §8.2). */
export const intelHashes = {
  tdx: 'sha512',
  sgx: 'sha256',
  'az-tdx-vtpm': 'sha256',
} as const satisfies Partial<Record<Tee, RuntimeDataHash>>

export type IntelTee = keyof typeof intelHashes

export function isIntelTee(tee: Tee): tee is IntelTee {
  return Object.hasOwn(intelHashes, tee)
}

/** Intel's limit. */
const runtimeDataLimit = 1_048_576

/**
 * The call of spec 02 §8.3 for one TDX, SGX or Azure TDX guest, with the GPUs of its additional evidence.
 * @throws EvidenceRejected for what Intel could not verify: nothing is left out silently.
 */
export function attestRequest(items: readonly EvaluationItem[], policies: PolicyChoice): AttestRequest {
  const [primary, ...devices] = items
  if (primary === undefined || !isIntelTee(primary.tee)) throw unsupported(primary?.tee)
  const { tee } = primary
  if (primary.runtimeDataHash !== intelHashes[tee])
    throw rejected('INPUT_INVALID', `${tee} has to be bound by ${intelHashes[tee]}`)
  const runtime = runtimeDataOf(primary)
  const part = tee === 'az-tdx-vtpm' ? azurePart(primary, runtime) : quotePart(primary, tee, runtime)
  const body = jsonObject({
    policy_ids: [...policies.policyIds],
    policy_must_match: policies.policyIds.length > 0 && !policies.allowUnmatchedPolicy,
    [tee === 'sgx' ? 'sgx' : 'tdx']: part.member,
    ...gpuPart(devices, intelHashes[tee]),
  })
  return {
    path: tee === 'az-tdx-vtpm' ? '/appraisal/v2/attest/azure' : '/appraisal/v2/attest',
    body: stringifyJson(body),
    expected: {
      tee,
      runtimeDataClaim: tee === 'az-tdx-vtpm' ? 'attester_user_data' : 'attester_runtime_data',
      runtimeData: runtime.value,
      reportData: part.reportData,
      initDataDigest: initDataDigestOf(primary, tee),
      hasGpu: devices.length > 0,
    },
  }
}

interface RuntimeData {
  readonly value: JsonValue
  /** RFC 8785, as the guest has hashed it. */
  readonly bytes: Uint8Array
}

function runtimeDataOf({ runtimeData }: EvaluationItem): RuntimeData {
  if (runtimeData?.kind !== 'structured') throw rejected('INPUT_INVALID', 'structured runtime data expected')
  const bytes = encodeUtf8(canonicalJson(runtimeData.value))
  if (bytes.length > runtimeDataLimit)
    throw rejected('INPUT_INVALID', `the runtime data exceed ${runtimeDataLimit} bytes`)
  return { value: runtimeData.value, bytes }
}

interface TeePart {
  readonly member: JsonObject
  readonly reportData: Uint8Array
}

/** Larger than any quote and any event log of a guest. */
const quoteLimit = 65_536
const eventLogLimit = 2_097_152

const quoteSchema = z.object({
  quote: base64Text(quoteLimit),
  cc_eventlog: base64Text(eventLogLimit).nullish(),
})

/** `tdx` and `sgx`: quote and event log go on as they came. */
function quotePart({ evidence }: EvaluationItem, tee: 'tdx' | 'sgx', { bytes }: RuntimeData): TeePart {
  const { quote, cc_eventlog: eventLog } = checked(quoteSchema, evidence)
  const withLog = tee === 'tdx' && eventLog !== undefined && eventLog !== null
  return {
    member: jsonObject({
      quote,
      runtime_data: encodeBase64(bytes),
      ...(withLog ? { event_log: eventLog } : {}),
    }),
    reportData: createHash(intelHashes[tee]).update(bytes).digest(),
  }
}

/** The paravisor binds the variable data to the quote, and our runtime data are its `user-data`. */
function azurePart({ evidence }: EvaluationItem, { bytes }: RuntimeData): TeePart {
  const { tdQuote, variableData } = readAzureEvidence(evidence)
  return {
    member: jsonObject({
      quote: encodeBase64(tdQuote),
      runtime_data: encodeBase64(variableData),
      user_data: encodeBase64(bytes),
    }),
    reportData: createHash('sha256').update(variableData).digest(),
  }
}

function readAzureEvidence(evidence: JsonValue) {
  try {
    const { hclReport, tdQuote } = parseAzureTdxEvidence(evidence)
    return { tdQuote, variableData: parseHclReport(hclReport, 'tdx').variableData }
  } catch (cause) {
    if (!(cause instanceof CheckFailure)) throw cause
    throw new EvidenceRejected(cause.code, 'evidence-format', cause.message, { cause })
  }
}

const gpuSchema = z.object({
  device_evidence_list: z
    .array(
      z.object({
        // what Intel verifies; Trustee drops others, and the passport then says nothing of them
        arch: z.enum(['HOPPER', 'BLACKWELL']),
        evidence: z.string().min(1).max(quoteLimit),
        certificate: z.string().min(1).max(quoteLimit),
      }),
    )
    .min(1)
    .max(16),
})

/** `nvgpu`. The nonce is the digest that the guest gave its GPUs, cut to 32 bytes. */
function gpuPart(devices: readonly EvaluationItem[], hash: RuntimeDataHash): JsonObject {
  const [device, second] = devices
  if (device === undefined) return {}
  if (second !== undefined || device.tee !== 'nvidia') throw unsupported((second ?? device).tee)
  const { device_evidence_list: list } = checked(gpuSchema, device.evidence)
  const architectures = new Set(list.map(({ arch }) => arch))
  const [arch = '', other] = architectures
  if (other !== undefined) throw rejected('EVIDENCE_MALFORMED', 'the GPUs are of different architectures')
  const digest = createHash(hash).update(runtimeDataOf(device).bytes).digest()
  return {
    nvgpu: jsonObject({
      gpu_nonce: encodeHex(digest.subarray(0, 32)),
      arch,
      evidence_list: list.map(({ evidence, certificate }) => jsonObject({ evidence, certificate })),
    }),
  }
}

/** Init data are in `mrconfigid` of a TD and in the config id of an enclave; of Azure's TPM Intel sees nothing. */
function initDataDigestOf({ initData }: EvaluationItem, tee: IntelTee): Uint8Array | undefined {
  if (initData === undefined) return undefined
  if (tee === 'az-tdx-vtpm')
    throw rejected('INIT_DATA_UNSUPPORTED', 'Intel Trust Authority does not see the PCR with the init data')
  return readInitData(initData).digest
}

function base64Text(limit: number) {
  return z
    .string()
    .min(1)
    .max(Math.ceil(limit / 3) * 4)
    .refine(isBase64, 'is not base64')
}

function isBase64(text: string): boolean {
  try {
    return decodeBase64(text).length > 0
  } catch (error) {
    if (error instanceof EncodingError) return false
    throw error
  }
}

function checked<T>(schema: z.ZodType<T>, evidence: JsonValue): T {
  // attesters give an object or, as some devices do, its text
  const value = typeof evidence === 'string' ? parsed(evidence) : evidence
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const members = result.error.issues.map(({ path }) => path.join('.') || 'evidence')
  throw rejected('EVIDENCE_MALFORMED', `unusable: ${members.join(', ')}`)
}

function parsed(text: string): JsonValue {
  try {
    return parseJson(text)
  } catch (cause) {
    throw new EvidenceRejected('EVIDENCE_MALFORMED', 'evidence-format', 'not JSON', { cause })
  }
}

function unsupported(tee: Tee | undefined): EvidenceRejected {
  return rejected('TEE_NOT_ENABLED', `Intel Trust Authority does not verify ${tee ?? 'nothing'}`)
}

function rejected(code: ConstructorParameters<typeof EvidenceRejected>[0], detail: string): EvidenceRejected {
  return new EvidenceRejected(code, 'evidence-format', detail)
}
