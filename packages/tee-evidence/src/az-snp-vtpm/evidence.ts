/** Evidence of `az-snp-vtpm`, versions 0, 1 and 2 (spec 03 §9.1). */
import type { JsonValue } from '@passport-kbs/protocol'
import { certificateLimit } from '../amd/chain.ts'
import { base64UrlOf, byteArrayOf, member, objectOf, stringOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import {
  type AzureVtpmEvidence,
  byteArrayQuoteOf,
  evidenceVersionOf,
  hexQuoteOf,
} from '../vtpm/azure-evidence.ts'
import { DerError } from '../x509/der.ts'
import { decodePemBlocks } from '../x509/pem.ts'

/** The VCEK as sent: DER bytes, or the PEM text of version 0. */
export type VcekForm = { readonly der: Uint8Array } | { readonly pem: string }

export interface AzureSnpEvidence extends AzureVtpmEvidence {
  readonly vcek: VcekForm
}

const pemEnd = '-----END CERTIFICATE-----'
/** A PEM text may hold the whole chain. */
const pemLimit = 64 * 1024
/** Above what `parseHclReport` takes, so that the size is a fault of the report, as in `az-tdx-vtpm`. */
const encodedHclLimit = 1024 * 1024

/** Type-checks the evidence; the presence of `version` decides the format. Rejects with EVIDENCE_MALFORMED. */
export function parseAzureSnpEvidence(value: JsonValue): AzureSnpEvidence {
  const evidence = objectOf(value, 'evidence')
  const version = evidenceVersionOf(evidence)
  if (version === 0) {
    return {
      version,
      quote: byteArrayQuoteOf(member(evidence, 'quote'), 'quote'),
      hclReport: byteArrayOf(member(evidence, 'report'), 'report', { limit: encodedHclLimit }),
      vcek: { pem: stringOf(member(evidence, 'vcek'), 'vcek', pemLimit) },
    }
  }
  return {
    version,
    quote: hexQuoteOf(member(evidence, 'tpm_quote'), 'tpm_quote'),
    hclReport: base64UrlOf(member(evidence, 'hcl_report'), 'hcl_report', encodedHclLimit),
    vcek: { der: base64UrlOf(member(evidence, 'vcek'), 'vcek', 2 * certificateLimit) },
  }
}

/** The DER of the VCEK; of a PEM text the first CERTIFICATE block. Rejects with CERT_MALFORMED. */
export function vcekDerOf(vcek: VcekForm): Uint8Array {
  if ('der' in vcek) {
    // PEM text is a form of version 0 only; read as DER it would be refused for a less helpful reason.
    if (vcek.der[0] !== 0x30) fail('CERT_MALFORMED', 'vcek is not a DER certificate')
    return vcek.der
  }
  try {
    const end = vcek.pem.indexOf(pemEnd)
    const [first] = decodePemBlocks(
      vcek.pem.slice(0, end < 0 ? undefined : end + pemEnd.length),
      'CERTIFICATE',
    )
    return first ?? fail('CERT_MALFORMED', 'vcek has no CERTIFICATE block')
  } catch (cause) {
    if (cause instanceof DerError) fail('CERT_MALFORMED', cause.message, cause)
    throw cause
  }
}
