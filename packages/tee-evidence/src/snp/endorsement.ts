/** Where the endorsement key of a report comes from: the evidence, or a source (spec 03 §5). */
import { encodeHex } from '@passport-kbs/protocol'
import type { ChainMaterial, ChainStore, VekChain } from '../amd/chain.ts'
import type { EndorsementOffer, EndorsementSource, VcekRequest } from '../amd/endorsement-source.ts'
import type { AmdGeneration } from '../amd/generation.ts'
import type { SigningKey, SnpReport } from '../amd/report.ts'
import { decodeTcbVersion } from '../amd/tcb-version.ts'
import { checkChipId, checkReportedTcb, isZero } from '../amd/vek-profile.ts'
import { CheckFailure, fail } from '../rejection.ts'
import type { SuppliedCertificate } from './evidence.ts'

/** A chain as read, nothing of it verified, and what it was read from. */
export interface Endorsement {
  readonly chain: VekChain
  readonly material: ChainMaterial
}

/**
 * The chain in the evidence: the first certificate of the class that KEY_INFO names.
 * Rejects with CERT_CHAIN_INCOMPLETE, SIGNING_KEY_MISMATCH or CERT_MALFORMED.
 */
export function suppliedEndorsement(
  certificates: readonly SuppliedCertificate[],
  generation: AmdGeneration,
  kind: SigningKey,
  chains: ChainStore,
): Endorsement {
  const first = (wanted: string) => certificates.find((certificate) => certificate.kind === wanted)?.data
  const leaf = first(kind.toUpperCase())
  if (leaf === undefined) {
    const other = first(kind === 'vcek' ? 'VLEK' : 'VCEK')
    if (other !== undefined) fail('SIGNING_KEY_MISMATCH', `the report names a ${kind}, the chain has none`)
    fail('CERT_CHAIN_INCOMPLETE', 'a supplied chain must include a VCEK or VLEK')
  }
  const intermediate = first('ASK')
  const ark = first('ARK')
  const material = {
    leaf,
    ...(intermediate === undefined ? {} : { intermediate }),
    ...(ark === undefined ? {} : { ark }),
  }
  return { chain: chains.open(generation, kind, material), material }
}

/**
 * The VCEK from the first source whose certificate is the one for this chip and TCB. Rejects with VEK_UNAVAILABLE.
 * Only for reports whose bindings have been compared: evidence chooses what is asked for.
 */
export async function fetchedEndorsement(
  report: SnpReport,
  generation: AmdGeneration,
  kind: SigningKey,
  sources: readonly EndorsementSource[],
  chains: ChainStore,
): Promise<Endorsement> {
  if (kind === 'vlek') fail('VEK_UNAVAILABLE', 'a VLEK cannot be fetched; the evidence must bring it')
  const request = vcekRequestFor(report, generation)
  const reasons: string[] = []
  for (const source of sources) {
    try {
      for await (const offer of source.vceks(request)) {
        const endorsement = acceptedOffer(offer, report, generation, chains)
        if (endorsement instanceof CheckFailure) reasons.push(`${source.name}: ${endorsement.code}`)
        else return endorsement
      }
    } catch (error) {
      reasons.push(`${source.name}: ${error instanceof Error ? error.message : 'failed'}`)
    }
  }
  return fail('VEK_UNAVAILABLE', `no source has the VCEK (${reasons.join('; ') || 'no source configured'})`)
}

/** Rejects with VEK_UNAVAILABLE when CHIP_ID names no chip. */
export function vcekRequestFor(report: SnpReport, generation: AmdGeneration): VcekRequest {
  if (isZero(report.chipId)) fail('VEK_UNAVAILABLE', 'CHIP_ID is zero: it names no chip to ask for')
  const isTurin = generation === 'Turin'
  if (isTurin && !isZero(report.chipId.subarray(8))) {
    fail('VEK_UNAVAILABLE', 'CHIP_ID on Turin has more than 8 bytes')
  }
  const hwid = encodeHex(isTurin ? report.chipId.subarray(0, 8) : report.chipId)
  return { generation, hwid, tcb: decodeTcbVersion(report.reportedTcb, generation) }
}

/** Signatures, profile, chip and TCB decide whether the source gave what it was asked for; dates do not. */
function acceptedOffer(
  offer: EndorsementOffer,
  report: SnpReport,
  generation: AmdGeneration,
  chains: ChainStore,
): Endorsement | CheckFailure {
  const material = { leaf: offer.certificate }
  try {
    const chain = chains.open(generation, 'vcek', material)
    chain.checkSignatures()
    const profile = chain.profile()
    checkChipId(profile, report, false)
    checkReportedTcb(profile, report, generation)
    offer.accept()
    return { chain, material }
  } catch (error) {
    offer.refuse()
    if (error instanceof CheckFailure) return error
    throw error
  }
}
