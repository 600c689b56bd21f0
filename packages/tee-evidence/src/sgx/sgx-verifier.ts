import { encodeHex, type JsonObject } from '@passport-kbs/protocol'
import type { Dcap } from '../intel/dcap.ts'
import { platformInstanceClaim } from '../intel/dcap-claims.ts'
import { type EnclaveQuote, parseEnclaveQuote } from '../intel/quote.ts'
import { cutQuote, quoteBytes, quoteChecks } from '../intel/quote-checks.ts'
import {
  bindingChecks,
  expectationCheck,
  requireUsableExpectations,
  verifyBindings,
} from '../intel/report-binding.ts'
import { fail } from '../rejection.ts'
import { type Check, CheckRun, type Verifier, verifiedEvidence } from '../verifier.ts'

export interface SgxVerifierOptions {
  readonly dcap: Dcap
  /** Development only: accepts debug enclaves; `attributes.flags` in the claims says so. */
  readonly allowDebug?: boolean
}

/** Verifies `sgx` evidence: an enclave quote of version 3 (spec 04). */
export function createSgxVerifier({ dcap, allowDebug = false }: SgxVerifierOptions): Verifier {
  const checks: readonly Check[] = [
    expectationCheck,
    evidenceCheck,
    ...quoteChecks,
    ...dcap.checks.filter(({ name }) => name !== 'tdx-module'),
    debugCheck,
    ...bindingChecks,
  ]
  return {
    tee: 'sgx',
    checks,
    async verify(evidence, request) {
      const run = new CheckRun(checks)
      run.make('expected-values', () => requireUsableExpectations(request))
      const bytes = run.make('evidence-format', () => quoteBytes(evidence))
      const quote = cutQuote(run, bytes, 'sgx', parseEnclaveQuote)
      const authentic = dcap.authenticate(run, quote, request.now)
      const dcapClaims = await dcap.appraise(run, authentic, request.now)
      run.make('debug', () => requireNoDebug(quote, allowDebug))
      const { report_data: reportData, config_id: configId } = quote.body
      verifyBindings(run, { reportData, configId }, request)
      const claims = { ...enclaveQuoteClaims(quote), ...platformInstanceClaim(authentic.pck), ...dcapClaims }
      return [verifiedEvidence({ tee: 'sgx', teeClass: 'cpu', claims, passed: run.passed })]
    },
  }
}

/** The claims of spec 04 §7.4: lower-case hex in wire order; two members of `body` have a dot in their name. */
function enclaveQuoteClaims({ header, body }: EnclaveQuote): JsonObject {
  return {
    header: {
      version: encodeHex(header.version),
      att_key_type: encodeHex(header.attKeyType),
      att_key_data_0: encodeHex(header.teeType),
      qe_svn: encodeHex(header.reserved.subarray(0, 2)),
      pce_svn: encodeHex(header.reserved.subarray(2, 4)),
      vendor_id: encodeHex(header.vendorId),
      user_data: encodeHex(header.userData),
    },
    body: Object.fromEntries(Object.entries(body).map(([name, bytes]) => [name, encodeHex(bytes)])),
    report_data: encodeHex(body.report_data),
    init_data: encodeHex(body.config_id),
  }
}

const debugFlag = 0x02

function requireNoDebug({ body }: EnclaveQuote, allowDebug: boolean): void {
  const flags = body['attributes.flags'][0] ?? debugFlag
  if ((flags & debugFlag) !== 0 && !allowDebug) fail('DEBUG_NOT_ALLOWED', 'the enclave runs in debug mode')
}

const evidenceCheck: Check = {
  name: 'evidence-format',
  source: 'spec 04 §2',
  codes: ['EVIDENCE_MALFORMED', 'QUOTE_MALFORMED'],
  protects: 'Ambiguous input could be read one way here and another way elsewhere.',
}

const debugCheck: Check = {
  name: 'debug',
  source: 'spec 04 §7.1',
  codes: ['DEBUG_NOT_ALLOWED'],
  protects: 'The host can read and write the memory of a debug enclave, secrets included.',
}
