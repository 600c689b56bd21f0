import type { JsonValue } from '@passport-kbs/protocol'
import { base64Of, member, objectOf, stringOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import type { Check, CheckRun } from '../verifier.ts'
import {
  maxQuoteBytes,
  parseQuoteHeader,
  type QuoteHeader,
  requireIntelQuotingEnclave,
  requireP256AttestationKey,
  requireQuoteOf,
} from './quote.ts'

/**
 * The bytes of the evidence member `quote`: standard base64, not empty.
 * @throws CheckFailure `EVIDENCE_MALFORMED`, or `QUOTE_MALFORMED` for more than 64 KiB
 */
export function quoteBytes(evidence: JsonValue): Uint8Array {
  const quote = member(objectOf(evidence, 'evidence'), 'quote')
  if (stringOf(quote, 'quote', Number.POSITIVE_INFINITY) === '') fail('EVIDENCE_MALFORMED', 'quote is empty')
  const bytes = base64Of(quote, 'quote', evidenceLimit)
  if (bytes.length > maxQuoteBytes) fail('QUOTE_MALFORMED', `${bytes.length} bytes, at most ${maxQuoteBytes}`)
  return bytes
}

/** Far above `maxQuoteBytes`, so that the length is a fault of the quote, not of the evidence; below any request. */
const evidenceLimit = 2 * 1024 * 1024

/** Checks the header rules and cuts the quote (steps 1 and 2 of spec 04 §4.1). */
export function cutQuote<Q>(
  run: CheckRun,
  bytes: Uint8Array,
  tee: 'tdx' | 'sgx',
  parse: (bytes: Uint8Array, header: QuoteHeader) => Q,
): Q {
  const header = run.make('quote-header', () => parseQuoteHeader(bytes))
  run.make('quote-version', () => requireQuoteOf(tee, header))
  run.make('attestation-key-type', () => requireP256AttestationKey(header))
  run.make('quoting-enclave-vendor', () => requireIntelQuotingEnclave(header))
  return run.make('quote-structure', () => parse(bytes, header))
}

/** The checks of `cutQuote`. */
export const quoteChecks: readonly Check[] = [
  {
    name: 'quote-header',
    source: 'spec 04 §3.1',
    codes: ['QUOTE_MALFORMED'],
    protects: 'A short quote would be read past its end.',
  },
  {
    name: 'quote-version',
    source: 'spec 04 §3.1',
    codes: ['QUOTE_VERSION_UNSUPPORTED', 'TEE_TYPE_MISMATCH'],
    protects: 'An SGX enclave could pass for a TD, or a field be read at the place of another.',
  },
  {
    name: 'attestation-key-type',
    source: 'spec 04 §3.1',
    codes: ['ATT_KEY_TYPE_UNSUPPORTED'],
    protects: 'A signature of another scheme would be read as ECDSA.',
  },
  {
    name: 'quoting-enclave-vendor',
    source: 'spec 04 §3.1',
    codes: ['QE_VENDOR_UNSUPPORTED'],
    protects: 'A quoting enclave with rules of its own would be judged by those of Intel.',
  },
  {
    name: 'quote-structure',
    source: 'spec 04 §3.2, §3.3',
    codes: ['QUOTE_MALFORMED', 'QUOTE_TRAILING_DATA', 'QUOTE_BODY_UNSUPPORTED', 'CERT_DATA_UNSUPPORTED'],
    protects: 'Sizes that contradict each other would let signed and read bytes differ.',
  },
]
