/** Where the endorsement key of a report comes from: the evidence, or a source (spec 03 §5). */
import { encodeHex } from '@passport-kbs/protocol'
import type { ChainMaterial, ChainStore, VekChain } from '../amd/chain.ts'
import {
  type EndorsementOffer,
  type EndorsementSource,
  EndorsementUnavailable,
  type VcekRequest,
} from '../amd/endorsement-source.ts'
import type { AmdGeneration } from '../amd/generation.ts'
import type { SigningKey, SnpReport } from '../amd/report.ts'
import { decodeTcbVersion } from '../amd/tcb-version.ts'
import { checkChipId, checkReportedTcb, isZero } from '../amd/vek-profile.ts'
import { CheckFailure, fail, failForOutage } from '../rejection.ts'
import { commonName } from '../x509/certificate.ts'
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

/** Why a source gave no endorsement. */
interface Fruitless {
  readonly reasons: readonly string[]
  /** It has not said that it has none: it could not be asked, or gave what is no certificate of AMD's. */
  readonly outage: boolean
}

/**
 * The VCEK from the first source whose certificate is the one for this chip and TCB. Rejects with VEK_UNAVAILABLE, which
 * is an outage unless every source has said that it has none.
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
  const fruitless: Fruitless[] = []
  for (const source of sources) {
    const found = await endorsementOf(source, request, (offer) =>
      acceptedOffer(offer, report, generation, chains),
    )
    if ('chain' in found) return found
    fruitless.push(found)
  }
  const reasons = fruitless.flatMap((each) => each.reasons).join('; ')
  const failed = fruitless.some(({ outage }) => outage) ? failForOutage : fail
  return failed('VEK_UNAVAILABLE', `no source has the VCEK (${reasons || 'no source configured'})`)
}

/** Its first offer that is accepted. Where there is none, the last thing that happened tells whether it is an outage. */
async function endorsementOf(
  source: EndorsementSource,
  request: VcekRequest,
  accepted: (offer: EndorsementOffer) => Endorsement | Refusal,
): Promise<Endorsement | Fruitless> {
  const reasons: string[] = []
  let outage = false
  try {
    for await (const offer of source.vceks(request)) {
      const result = accepted(offer)
      if ('chain' in result) return result
      reasons.push(`${source.name}: ${result.failure.code}`)
      outage = result.damaged
    }
  } catch (error) {
    reasons.push(`${source.name}: ${error instanceof Error ? error.message : 'failed'}`)
    outage = error instanceof EndorsementUnavailable && !error.absent
  }
  return { reasons, outage }
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

/** Why an offer is not accepted. */
interface Refusal {
  readonly failure: CheckFailure
  /** It is no certificate of AMD's. Else it is one, but for another chip, TCB or product than evidence claims to be of. */
  readonly damaged: boolean
}

/** Signatures, profile, chip and TCB decide whether the source gave what it was asked for; dates do not. */
function acceptedOffer(
  offer: EndorsementOffer,
  report: SnpReport,
  generation: AmdGeneration,
  chains: ChainStore,
): Endorsement | Refusal {
  const material = { leaf: offer.certificate }
  let chain: VekChain | undefined
  try {
    chain = chains.open(generation, 'vcek', material)
    chain.checkSignatures()
    const profile = chain.profile()
    checkChipId(profile, report, false)
    checkReportedTcb(profile, report, generation)
    offer.accept()
    return { chain, material }
  } catch (error) {
    const damaged = error instanceof CheckFailure && isDamaged(error, chain)
    offer.refuse(damaged)
    if (error instanceof CheckFailure) return { failure: error, damaged }
    throw error
  }
}

/**
 * Evidence chooses the product under which a chip is asked for, so a certificate that an intermediate of another product
 * has issued is no damage.
 */
function isDamaged({ code }: CheckFailure, chain: VekChain | undefined): boolean {
  if (code === 'CERT_MALFORMED') return true
  if (code !== 'CERT_CHAIN_INVALID' || chain === undefined) return false
  const issuer = commonName(chain.leaf.issuer)
  return issuer === commonName(chain.intermediate.subject) || issuer?.startsWith('SEV-') !== true
}
