/** `tpm`: a quote of any TPM 2.0 (spec 03 Annex A). The key is a claim: only a policy can say whose TPM it is. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { encodeHex, type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'
import { arrayOf, base64Of, member, objectOf, stringOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import {
  type Check,
  CheckRun,
  type VerificationRequest,
  type VerifiedEvidence,
  type Verifier,
  verifiedEvidence,
} from '../verifier.ts'
import { hexPcrOf, vtpmChecks } from '../vtpm/azure-evidence.ts'
import {
  checkInitDataPcr,
  checkNonce,
  checkPcrDigest,
  checkPcrSelection,
  checkQuoteSignature,
  parseTpmQuote,
  parseTpmtSignature,
  pcrClaims,
  pcrSize,
  type TpmQuote,
  tpmMessageLimit,
  tpmSignatureLimit,
} from '../vtpm/tpm-quote.ts'

export interface TpmPolicy {
  /** Rejects when the caller expects no report data. Default false: the check is skipped, as upstream. */
  readonly requireReportData?: boolean
}

export interface TpmVerifierOptions {
  readonly policy?: TpmPolicy
}

interface TpmEvidence {
  /** The base64 text as received: it is a claim. */
  readonly akPublic: string
  readonly key: Uint8Array
  readonly signature: Uint8Array
  readonly message: Uint8Array
  readonly pcrs: readonly Uint8Array[]
}

const keyLimit = 2048
const pcrEntriesLimit = 4096

const shared = (name: string): Check[] => vtpmChecks.filter((check) => check.name === name)

const checks: readonly Check[] = [
  ...shared('evidence-format'),
  {
    name: 'attestation-key',
    source: 'spec 03 Annex A',
    codes: ['AK_UNSUPPORTED'],
    protects: 'A weak key could be factored and sign any quote.',
  },
  ...shared('quote-signature'),
  ...shared('quote-format'),
  ...shared('pcr-selection'),
  ...shared('pcr-digest'),
  {
    name: 'nonce',
    source: 'spec 03 Annex A',
    codes: ['INPUT_INVALID', 'TPM_NONCE_MISMATCH'],
    protects: 'A recorded quote could be replayed, or used for another key.',
  },
  {
    name: 'init-data',
    source: 'spec 03 §8.5',
    codes: ['INIT_DATA_MISMATCH', 'INPUT_INVALID'],
    protects: 'A guest could be started with other init data than it shows.',
  },
]

/** Verifies `tpm` evidence. It proves that some key signed these PCR values, and names the key. */
export function createTpmVerifier({ policy = {} }: TpmVerifierOptions = {}): Verifier {
  return {
    tee: 'tpm',
    checks,
    async verify(value: JsonValue, request: VerificationRequest): Promise<readonly VerifiedEvidence[]> {
      const run = new CheckRun(checks)
      const evidence = run.make('evidence-format', () => parseTpmEvidence(value))
      const key = run.make('attestation-key', () => attestationKey(evidence.key))
      const { message, pcrs } = evidence
      run.make('quote-signature', () =>
        checkQuoteSignature(key, message, parseTpmtSignature(evidence.signature)),
      )
      const quote = run.make('quote-format', () => parseTpmQuote(message))
      run.make('pcr-selection', () => checkPcrSelection(quote, pcrs))
      run.make('pcr-digest', () => checkPcrDigest(quote, pcrs))
      const { expectedReportData: expected, expectedInitDataDigest: digest } = request
      if (expected !== undefined || policy.requireReportData === true) {
        run.make('nonce', () => checkResizedNonce(quote, expected))
      }
      if (digest !== undefined) run.make('init-data', () => checkInitDataPcr(pcrs, digest))
      const claims = tpmClaims(evidence, quote)
      return [verifiedEvidence({ tee: 'tpm', teeClass: 'cpu', claims, passed: run.passed })]
    },
  }
}

function parseTpmEvidence(value: JsonValue): TpmEvidence {
  const evidence = objectOf(value, 'evidence')
  const akPublic = stringOf(member(evidence, 'ak_public'), 'ak_public', 2 * keyLimit)
  const quote = objectOf(member(evidence, 'tpm_quote'), 'tpm_quote')
  const pcrs = arrayOf(member(quote, 'pcrs'), 'tpm_quote.pcrs', pcrEntriesLimit)
  return {
    akPublic,
    key: base64Of(akPublic, 'ak_public', keyLimit),
    signature: base64Of(member(quote, 'signature'), 'tpm_quote.signature', tpmSignatureLimit + 6),
    message: base64Of(member(quote, 'message'), 'tpm_quote.message', tpmMessageLimit),
    pcrs: pcrs.map((pcr, index) => hexPcrOf(pcr, `tpm_quote.pcrs[${index}]`)),
  }
}

/** RSA of 2048 to 4096 bits, exponent 65537, as for the vTPM of Azure. */
function attestationKey(spki: Uint8Array): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch (cause) {
    return fail('AK_UNSUPPORTED', 'ak_public is not a public key', cause)
  }
  const { modulusLength = 0, publicExponent } = key.asymmetricKeyDetails ?? {}
  const sound = modulusLength >= 2048 && modulusLength <= 4096 && publicExponent === 65537n
  if (key.asymmetricKeyType !== 'rsa' || !sound) {
    fail('AK_UNSUPPORTED', `attestation key ${key.asymmetricKeyType} of ${modulusLength} bits`)
  }
  // OpenSSL ignores bytes behind the structure; the claim must be the key and nothing else.
  if (!key.export({ format: 'der', type: 'spki' }).equals(spki)) {
    fail('AK_UNSUPPORTED', 'ak_public is not exactly one DER public key')
  }
  return key
}

/** The attester resizes its report data to 32 bytes; 16 of the usual 48 are lost (spec 03 §12.15). */
function checkResizedNonce(quote: TpmQuote, expected: Uint8Array | undefined): void {
  if (expected === undefined) fail('INPUT_INVALID', 'expected report data is required')
  if (expected.length < 1 || expected.length > 64) {
    fail('INPUT_INVALID', `expected report data of ${expected.length} bytes`)
  }
  const resized = Buffer.alloc(pcrSize)
  resized.set(expected.subarray(0, pcrSize))
  checkNonce(quote, resized)
}

function tpmClaims(evidence: TpmEvidence, quote: TpmQuote): JsonObject {
  return jsonObject({
    ...pcrClaims(evidence.pcrs),
    init_data: encodeHex(evidence.pcrs[8] ?? new Uint8Array()),
    report_data: encodeHex(quote.extraData),
    ak_public: evidence.akPublic,
  })
}
