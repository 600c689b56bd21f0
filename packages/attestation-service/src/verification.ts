import { type JsonValue, runtimeDataDigest, type Tee } from '@passport-kbs/protocol'
import { EvidenceRejected, type VerifiedEvidence, type Verifier } from '@passport-kbs/tee-evidence'
import type { EvaluationItem } from './attestation-service.ts'
import { type InitData, readInitData } from './init-data.ts'

/** One attester: what was verified of it, and what its evidence is bound to. */
export interface Attester {
  readonly evidence: VerifiedEvidence
  readonly initData: InitData
  readonly runtimeDataClaims: JsonValue
}

/** The verifiers of a service, by TEE. */
export interface EnabledVerifiers {
  readonly verifiers: ReadonlyMap<Tee, Verifier>
  /** Whether `sample` and `sampledevice`, which prove nothing, count. */
  readonly development: boolean
}

const developmentTees: readonly Tee[] = ['sample', 'sampledevice']
/** The primary evidence and 64 devices. */
const maxItems = 65
/** The widest report data of any TEE. */
const maxRawRuntimeData = 64

/** @throws EvidenceRejected with `TEE_NOT_ENABLED`. */
export function verifierOf(tee: Tee, { verifiers, development }: EnabledVerifiers): Verifier {
  const verifier = verifiers.get(tee)
  if (!verifier || (developmentTees.includes(tee) && !development)) {
    throw new EvidenceRejected('TEE_NOT_ENABLED', 'tee-enabled', `evidence of ${tee} is not verified here`)
  }
  return verifier
}

/**
 * Verifies the primary evidence, `items[0]`, then those of the devices, all or nothing (spec 02 §2.1). Devices come in
 * the order of their TEE names, whatever the sender's, so that `gpu0` and `gpu1` mean the same in every token.
 * @throws EvidenceRejected
 */
export async function verifyEvidence(
  items: readonly EvaluationItem[],
  enabled: EnabledVerifiers,
  now: Date,
): Promise<readonly Attester[]> {
  const [primary, ...devices] = items
  if (!primary) throw rejected('there is no evidence')
  if (items.length > maxItems) throw rejected(`there are more than ${maxItems} pieces of evidence`)
  for (const { tee } of items) verifierOf(tee, enabled)
  devices.sort((a, b) => (a.tee < b.tee ? -1 : a.tee > b.tee ? 1 : 0))
  // the primary evidence binds that of the devices: until it holds, nothing is fetched or computed for them
  const verified = [await verifyItem(primary, enabled, now)]
  const results = await Promise.allSettled(devices.map((item) => verifyItem(item, enabled, now)))
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  // what is refused stays refused, whatever cannot be asked beside it
  if (failures.length > 0) throw failures.find((failure) => !isOutage(failure)) ?? failures[0]
  for (const result of results) if (result.status === 'fulfilled') verified.push(result.value)
  const attesters = verified.flat()
  if (attesters.length === 0) throw rejected('the evidence has no attester')
  return attesters
}

function isOutage(failure: unknown): boolean {
  return failure instanceof EvidenceRejected && failure.outage
}

async function verifyItem(
  item: EvaluationItem,
  enabled: EnabledVerifiers,
  now: Date,
): Promise<readonly Attester[]> {
  const { digest, claims } = readRuntimeData(item)
  const initData = readInitData(item.initData)
  const entries = await verifierOf(item.tee, enabled).verify(item.evidence, {
    now,
    ...(digest ? { expectedReportData: digest } : {}),
    ...(initData.digest ? { expectedInitDataDigest: initData.digest } : {}),
  })
  return entries.map((evidence) => ({ evidence, initData, runtimeDataClaims: claims }))
}

/** Expected report data, before a verifier pads or cuts it, and the claims that it covers (spec 02 §2.2). */
function readRuntimeData({ runtimeData, runtimeDataHash }: EvaluationItem): {
  readonly digest: Uint8Array | undefined
  readonly claims: JsonValue
} {
  if (!runtimeData) return { digest: undefined, claims: null }
  if (runtimeData.kind === 'structured') {
    return { digest: structuredDigest(runtimeData.value, runtimeDataHash), claims: runtimeData.value }
  }
  const { bytes } = runtimeData
  if (bytes.length === 0 || bytes.length > maxRawRuntimeData) {
    throw rejected(`runtime data is not 1 to ${maxRawRuntimeData} bytes long`)
  }
  return { digest: bytes, claims: null }
}

/** Numbers beyond a double have no canonical form (RFC 8785 §3.2.2.3). */
function structuredDigest(value: JsonValue, hash: EvaluationItem['runtimeDataHash']): Uint8Array {
  try {
    return runtimeDataDigest(value, hash)
  } catch (error) {
    if (error instanceof TypeError) throw rejected('the runtime data have no canonical form')
    throw error
  }
}

function rejected(detail: string): EvidenceRejected {
  return new EvidenceRejected('INPUT_INVALID', 'evaluation-request', detail)
}
