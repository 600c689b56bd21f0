import { encodeHex, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import { base64UrlOf, byteArrayOf, member, objectOf } from '../evidence-json.ts'
import type { AuthenticQuote, Dcap } from '../intel/dcap.ts'
import type { PckExtension } from '../intel/pck-certificate.ts'
import {
  parseQuoteHeader,
  parseTdQuote,
  requireIntelQuotingEnclave,
  requireP256AttestationKey,
  requireQuoteOf,
  type TdQuote,
} from '../intel/quote.ts'
import { CheckFailure, EvidenceRejected, fail, type RejectionCode } from '../rejection.ts'
import { tdQuoteClaims } from '../tdx/td-claims.ts'
import { requireTrustedTd, tdDebugCheck } from '../tdx/td-debug.ts'
import { type Check, CheckRun, type Verifier, verifiedEvidence } from '../verifier.ts'
import {
  type AzureEvidenceVersion,
  type AzureVtpmEvidence,
  byteArrayQuoteOf,
  evidenceVersionOf,
  hexQuoteOf,
  verifyVtpm,
  vtpmChecks,
} from '../vtpm/azure-evidence.ts'
import { checkInitDataPcr, pcrClaims, pcrSize } from '../vtpm/tpm-quote.ts'
import { checkUserData, checkVariableDataBinding } from '../vtpm/variable-data.ts'
import { requireSameTdReport } from './td-report.ts'

export interface AzureTdxVtpmVerifierOptions {
  readonly dcap: Dcap
  /** Oldest evidence format that is accepted: 0 as upstream does, 2 binds the most. */
  readonly minEvidenceVersion?: AzureEvidenceVersion
  /** Development only: accepts debug TDs; the claims say so. */
  readonly allowDebug?: boolean
}

/**
 * Verifies `az-tdx-vtpm` evidence: a vTPM quote whose key is bound, through the HCL variable data, to a TD quote
 * (spec 03 §10). All that needs no network comes first.
 */
export function createAzureTdxVtpmVerifier(options: AzureTdxVtpmVerifierOptions): Verifier {
  const { dcap, minEvidenceVersion = 0, allowDebug = false } = options
  const checks = [...vtpmChecks, ...bindingChecks, ...dcap.checks.map(renamedCodes), tdDebugCheck]
  return {
    tee: 'az-tdx-vtpm',
    checks,
    async verify(evidence, request) {
      const run = new CheckRun(checks)
      const parse = () => parseAzureTdxEvidence(evidence)
      const vtpm = verifyVtpm(run, parse, 'tdx', minEvidenceVersion, request)
      const { variableData, variableDataBytes, hardwareReport, pcrs, expectedReportData } = vtpm.state
      const quote = run.make('td-quote', () => cutTdQuote(vtpm.evidence.tdQuote))
      run.make('variable-data', () => checkVariableDataBinding(variableDataBytes, quote.body.report_data))
      run.make('td-report', () => requireSameTdReport(hardwareReport, quote.body))
      if (vtpm.evidence.version === 2) {
        run.make('user-data', () => checkUserData(variableData, expectedReportData))
      }
      const { expectedInitDataDigest } = request
      if (expectedInitDataDigest !== undefined) {
        run.make('init-data', () => checkInitDataPcr(pcrs, expectedInitDataDigest))
      }
      const authentic = authenticate(dcap, run, quote, request.now)
      const dcapClaims = await dcap.appraise(run, authentic, request.now)
      run.make('debug', () => requireTrustedTd(quote.body.td_attributes, allowDebug))
      const claims = {
        ...tdQuoteClaims(quote),
        ...instanceClaim(authentic.pck),
        tpm: pcrClaims(pcrs),
        report_data: encodeHex(vtpm.state.quote.extraData),
        init_data: encodeHex(pcrs[8] ?? new Uint8Array(pcrSize)),
        ...dcapClaims,
      }
      return [verifiedEvidence({ tee: 'az-tdx-vtpm', teeClass: 'cpu', claims, passed: run.passed })]
    },
  }
}

/** In the order of the certificate, as the vectors of this TEE have it; `tdx` and `sgx` give it in reverse. */
function instanceClaim({ platform }: PckExtension): JsonObject {
  return platform === undefined ? {} : { platform_instance_id: encodeHex(platform.instanceId) }
}

export interface AzureTdxEvidence extends AzureVtpmEvidence {
  readonly tdQuote: Uint8Array
}

/** Larger than any quote that is accepted, so that the size is a fault of the quote and not of the evidence. */
const encodedLimit = 1024 * 1024

/**
 * The three formats of spec 03 §10.1: all members have the same names, their encodings differ. Nothing is verified.
 * @throws CheckFailure
 */
export function parseAzureTdxEvidence(evidence: JsonValue): AzureTdxEvidence {
  const fields = objectOf(evidence, 'evidence')
  const version = evidenceVersionOf(fields)
  const [quote, hclReport, tdQuote] = ['tpm_quote', 'hcl_report', 'td_quote'].map((name) =>
    member(fields, name),
  )
  if (version === 0) {
    return {
      version,
      quote: byteArrayQuoteOf(quote, 'tpm_quote'),
      hclReport: byteArrayOf(hclReport, 'hcl_report', { limit: encodedLimit }),
      tdQuote: byteArrayOf(tdQuote, 'td_quote', { limit: encodedLimit }),
    }
  }
  return {
    version,
    quote: hexQuoteOf(quote, 'tpm_quote'),
    hclReport: base64UrlOf(hclReport, 'hcl_report', encodedLimit),
    tdQuote: base64UrlOf(tdQuote, 'td_quote', encodedLimit),
  }
}

/** The reasons of Trustee's Azure verifier for what the `tdx` verifier tells apart more finely (spec 03 §2.3). */
const azureCodes: Partial<Record<RejectionCode, RejectionCode>> = {
  QUOTE_VERSION_UNSUPPORTED: 'TD_QUOTE_TYPE_UNSUPPORTED',
  TEE_TYPE_MISMATCH: 'TD_QUOTE_TYPE_UNSUPPORTED',
  QUOTE_MALFORMED: 'TD_QUOTE_MALFORMED',
  QUOTE_TRAILING_DATA: 'TD_QUOTE_MALFORMED',
  QUOTE_BODY_UNSUPPORTED: 'TD_QUOTE_MALFORMED',
  ATT_KEY_TYPE_UNSUPPORTED: 'TD_QUOTE_MALFORMED',
  QE_VENDOR_UNSUPPORTED: 'TD_QUOTE_MALFORMED',
  CERT_DATA_UNSUPPORTED: 'TD_QUOTE_MALFORMED',
  QUOTE_SIGNATURE_INVALID: 'TD_QUOTE_SIGNATURE_INVALID',
}

function cutTdQuote(bytes: Uint8Array): TdQuote {
  try {
    const header = parseQuoteHeader(bytes)
    requireQuoteOf('tdx', header)
    requireP256AttestationKey(header)
    requireIntelQuotingEnclave(header)
    return parseTdQuote(bytes, header)
  } catch (error) {
    if (!(error instanceof CheckFailure)) throw error
    fail(azureCodes[error.code] ?? error.code, error.message, error)
  }
}

function authenticate(dcap: Dcap, run: CheckRun, quote: TdQuote, now: Date): AuthenticQuote {
  try {
    return dcap.authenticate(run, quote, now)
  } catch (error) {
    if (!(error instanceof EvidenceRejected)) throw error
    throw new EvidenceRejected(azureCodes[error.code] ?? error.code, error.check, error.detail, {
      cause: error,
      passed: error.passed,
      outage: error.outage,
    })
  }
}

function renamedCodes(check: Check): Check {
  return { ...check, codes: check.codes.map((code) => azureCodes[code] ?? code) }
}

const bindingChecks: readonly Check[] = [
  {
    name: 'td-quote',
    source: 'spec 03 §10.2; spec 04 §3',
    codes: ['TD_QUOTE_MALFORMED', 'TD_QUOTE_TYPE_UNSUPPORTED'],
    protects: 'An SGX quote, or one cut differently, could be read as that of a TD.',
  },
  {
    name: 'variable-data',
    source: 'spec 03 §10.3 step 7',
    codes: ['VAR_DATA_MISMATCH'],
    protects: 'A TPM key of the attacker could be put beside the TD quote of a genuine guest.',
  },
  {
    name: 'td-report',
    source: 'spec 03 §10.3 step 8',
    codes: ['TD_REPORT_MISMATCH'],
    protects: 'Evidence that contradicts itself would reach logs and claims.',
  },
  {
    name: 'user-data',
    source: 'spec 03 §9.2 step 6, §10.3 step 9',
    codes: ['HCL_MALFORMED', 'USER_DATA_MISMATCH'],
    protects: 'A version 2 guest could be presented with a TD quote made for another session.',
  },
  {
    name: 'init-data',
    source: 'spec 03 §8.5',
    codes: ['INPUT_INVALID', 'INIT_DATA_MISMATCH'],
    protects: 'The host could start the guest with another configuration than the one that was reviewed.',
  },
]
