/** What `az-snp-vtpm` and `az-tdx-vtpm` have in common: the shape of the quote and steps 1 to 4 of spec 03 §9.2. */
import type { JsonObject, JsonValue } from '@passport-kbs/protocol'
import { arrayOf, byteArrayOf, hexOf, member, objectOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import type { Check, CheckRun, VerificationRequest } from '../verifier.ts'
import { type HclReportType, parseHclReport } from './hcl-report.ts'
import {
  checkInitDataLength,
  checkNonce,
  checkPcrDigest,
  checkPcrSelection,
  checkQuoteSignature,
  parseTpmQuote,
  pcrSize,
  type TpmQuote,
  tpmMessageLimit,
  tpmSignatureLimit,
} from './tpm-quote.ts'
import { attestationKeyOf, parseVariableData } from './variable-data.ts'

export type AzureEvidenceVersion = 0 | 1 | 2

/** A TPM quote as sent, decoded but not looked into. */
export interface SignedQuote {
  readonly message: Uint8Array
  /** Raw RSA signature. */
  readonly signature: Uint8Array
  readonly pcrs: readonly Uint8Array[]
}

/** The decoded parts that both Azure TEEs send. */
export interface AzureVtpmEvidence {
  readonly version: AzureEvidenceVersion
  readonly quote: SignedQuote
  readonly hclReport: Uint8Array
}

/** What steps 1 to 4 establish: a fresh quote of all PCRs by the key in the variable data. */
export interface VtpmState {
  /** The hardware report area of the HCL report: 1184 bytes, not yet authenticated. */
  readonly hardwareReport: Uint8Array
  /** Exact bytes, to be compared with the hardware report data. */
  readonly variableDataBytes: Uint8Array
  readonly variableData: JsonObject
  readonly quote: TpmQuote
  /** 24 values, index = PCR number. */
  readonly pcrs: readonly Uint8Array[]
  readonly expectedReportData: Uint8Array
}

/** 0 without a `version` key, else the number 1 or 2; anything else is EVIDENCE_MALFORMED (spec 03 §9.1). */
export function evidenceVersionOf(evidence: JsonObject): AzureEvidenceVersion {
  if (!Object.hasOwn(evidence, 'version')) return 0
  const { version } = evidence
  if (version !== 1 && version !== 2) fail('EVIDENCE_MALFORMED', 'version is neither 1 nor 2')
  return version
}

// The selection check refuses other counts than 24 with its own code; this bounds the work before it.
const pcrEntriesLimit = 4096

/** The quote of evidence version 1 and 2: hexadecimal strings. */
export function hexQuoteOf(value: JsonValue | undefined, path: string): SignedQuote {
  const quote = objectOf(value, path)
  const pcrs = arrayOf(member(quote, 'pcrs'), `${path}.pcrs`, pcrEntriesLimit)
  return {
    signature: hexOf(member(quote, 'signature'), `${path}.signature`, tpmSignatureLimit),
    message: hexOf(member(quote, 'message'), `${path}.message`, tpmMessageLimit),
    pcrs: pcrs.map((pcr, index) => hexPcrOf(pcr, `${path}.pcrs[${index}]`)),
  }
}

/** One PCR value: 64 hexadecimal digits. */
export function hexPcrOf(value: JsonValue, path: string): Uint8Array {
  const pcr = hexOf(value, path, pcrSize)
  if (pcr.length !== pcrSize) fail('EVIDENCE_MALFORMED', `${path} has ${pcr.length} bytes, not ${pcrSize}`)
  return pcr
}

/** The quote of evidence version 0: arrays of bytes. */
export function byteArrayQuoteOf(value: JsonValue | undefined, path: string): SignedQuote {
  const quote = objectOf(value, path)
  const pcrs = arrayOf(member(quote, 'pcrs'), `${path}.pcrs`, pcrEntriesLimit)
  return {
    signature: byteArrayOf(member(quote, 'signature'), `${path}.signature`, { limit: tpmSignatureLimit }),
    message: byteArrayOf(member(quote, 'message'), `${path}.message`, { limit: tpmMessageLimit }),
    pcrs: pcrs.map((pcr, index) => byteArrayOf(pcr, `${path}.pcrs[${index}]`, { length: pcrSize })),
  }
}

/** The checks that `verifyVtpm` makes, to be placed at the head of a verifier's list. */
export const vtpmChecks: readonly Check[] = [
  {
    name: 'expected-values',
    source: 'spec 03 §9.2 step 1, §8.4, §8.5',
    codes: ['INPUT_INVALID'],
    protects: 'A missing or oversized expected value would leave the quote unbound to this session.',
  },
  {
    name: 'evidence-format',
    source: 'spec 03 §2.4, §9.1, §10.1',
    codes: ['EVIDENCE_MALFORMED'],
    protects: 'Ambiguous input could be read one way here and another way elsewhere.',
  },
  {
    name: 'evidence-version',
    source: 'spec 03 §9.1, §12.8',
    codes: ['EVIDENCE_VERSION_TOO_OLD'],
    protects: 'A guest could choose an old format that binds less.',
  },
  {
    name: 'hcl-report',
    source: 'spec 03 §7',
    codes: ['HCL_MALFORMED', 'HCL_REPORT_TYPE_UNSUPPORTED', 'HCL_HASH_TYPE_UNSUPPORTED'],
    protects: 'Bytes outside the hashed range could be taken for variable data.',
  },
  {
    name: 'attestation-key',
    source: 'spec 03 §7.1',
    codes: ['HCL_MALFORMED', 'AK_NOT_FOUND', 'AK_UNSUPPORTED'],
    protects: 'A second, weak or foreign key could sign the quote.',
  },
  {
    name: 'quote-signature',
    source: 'spec 03 §8.2',
    codes: ['TPM_SIGNATURE_INVALID'],
    protects: 'Anyone could write PCR values and nonces.',
  },
  {
    name: 'quote-format',
    source: 'spec 03 §8.1',
    codes: ['TPM_QUOTE_MALFORMED', 'TPM_NOT_A_QUOTE'],
    protects: 'Another structure signed by the same key could be read as a quote.',
  },
  {
    name: 'nonce',
    source: 'spec 03 §8.4',
    codes: ['TPM_NONCE_MISMATCH'],
    protects: 'A recorded quote could be replayed, or used for another key.',
  },
  {
    name: 'pcr-selection',
    source: 'spec 03 §8.3, §12.1',
    codes: ['PCR_SELECTION_UNSUPPORTED'],
    protects: 'A resettable PCR could be passed off as any measured one.',
  },
  {
    name: 'pcr-digest',
    source: 'spec 03 §8.3',
    codes: ['PCR_DIGEST_MISMATCH'],
    protects: 'PCR values could be invented beside a genuine quote.',
  },
]

/**
 * Steps 1 to 4 of spec 03 §9.2 and §10.3: expected values, parsing, minimum version, HCL report, attestation key,
 * quote signature, nonce, PCRs. Nothing here needs a network or proves that the key belongs to a TEE: that
 * follows only when the variable data turn out to be bound to a verified hardware report.
 */
export function verifyVtpm<E extends AzureVtpmEvidence>(
  run: CheckRun,
  parse: () => E,
  type: HclReportType,
  minEvidenceVersion: AzureEvidenceVersion,
  request: VerificationRequest,
): { readonly evidence: E; readonly state: VtpmState } {
  const expectedReportData = run.make('expected-values', () => expectedValues(request))
  const evidence = run.make('evidence-format', parse)
  run.make('evidence-version', () => {
    if (evidence.version < minEvidenceVersion) {
      fail('EVIDENCE_VERSION_TOO_OLD', `evidence version ${evidence.version} below ${minEvidenceVersion}`)
    }
  })
  const hcl = run.make('hcl-report', () => parseHclReport(evidence.hclReport, type))
  const { variableData, key } = run.make('attestation-key', () => {
    const data = parseVariableData(hcl.variableData)
    return { variableData: data, key: attestationKeyOf(data) }
  })
  const { message, signature, pcrs } = evidence.quote
  run.make('quote-signature', () => checkQuoteSignature(key, message, signature))
  const quote = run.make('quote-format', () => parseTpmQuote(message))
  run.make('nonce', () => checkNonce(quote, expectedReportData))
  run.make('pcr-selection', () => checkPcrSelection(quote, pcrs))
  run.make('pcr-digest', () => checkPcrDigest(quote, pcrs))
  const { hardwareReport, variableData: variableDataBytes } = hcl
  const state = { hardwareReport, variableDataBytes, variableData, quote, pcrs, expectedReportData }
  return { evidence, state }
}

function expectedValues({ expectedReportData, expectedInitDataDigest }: VerificationRequest): Uint8Array {
  if (expectedReportData === undefined) fail('INPUT_INVALID', 'unexpected empty report data')
  if (expectedReportData.length < 1 || expectedReportData.length > 64) {
    fail('INPUT_INVALID', `expected report data of ${expectedReportData.length} bytes`)
  }
  if (expectedInitDataDigest !== undefined) checkInitDataLength(expectedInitDataDigest)
  return expectedReportData
}
