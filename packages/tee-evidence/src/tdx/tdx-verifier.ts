import { encodeHex, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import { eventLogBytes, eventLogChecks, verifyEventLog } from '../eventlog/event-log-evidence.ts'
import { member, objectOf } from '../evidence-json.ts'
import type { Dcap } from '../intel/dcap.ts'
import { platformInstanceClaim } from '../intel/dcap-claims.ts'
import { parseTdQuote, type TdQuote } from '../intel/quote.ts'
import { cutQuote, quoteBytes, quoteChecks } from '../intel/quote-checks.ts'
import {
  bindingChecks,
  expectationCheck,
  requireUsableExpectations,
  verifyBindings,
} from '../intel/report-binding.ts'
import { fail } from '../rejection.ts'
import { type Check, CheckRun, type Verifier, verifiedEvidence } from '../verifier.ts'
import { tdQuoteClaims } from './td-claims.ts'
import { requireTrustedTd, tdDebugCheck } from './td-debug.ts'

export interface TdxVerifierOptions {
  readonly dcap: Dcap
  /** Development only: accepts debug TDs; the claims say so. */
  readonly allowDebug?: boolean
  /** True: evidence without an event log is refused. */
  readonly requireEventLog?: boolean
}

/** Verifies `tdx` evidence: a TD quote of version 4 or 5, and the CC event log where there is one (spec 04). */
export function createTdxVerifier(options: TdxVerifierOptions): Verifier {
  const { dcap, allowDebug = false, requireEventLog = false } = options
  const checks: readonly Check[] = [
    expectationCheck,
    evidenceCheck,
    ...quoteChecks,
    ...dcap.checks,
    tdDebugCheck,
    ...bindingChecks,
    ...eventLogChecks,
  ]
  return {
    tee: 'tdx',
    checks,
    async verify(evidence, request) {
      const run = new CheckRun(checks)
      run.make('expected-values', () => requireUsableExpectations(request))
      const { bytes, log } = run.make('evidence-format', () => evidenceParts(evidence, requireEventLog))
      const quote = cutQuote(run, bytes, 'tdx', parseTdQuote)
      const authentic = dcap.authenticate(run, quote, request.now)
      const dcapClaims = await dcap.appraise(run, authentic, request.now)
      run.make('debug', () => requireTrustedTd(quote.body.td_attributes, allowDebug))
      const { report_data: reportData, mr_config_id: configId } = quote.body
      verifyBindings(run, { reportData, configId }, request)
      const claims: JsonObject = {
        ...tdQuoteClaims(quote),
        ...(log === undefined
          ? {}
          : { uefi_event_logs: verifyEventLog(run, log, 'sha384', registers(quote)) }),
        ...platformInstanceClaim(authentic.pck),
        ...dcapClaims,
        report_data: encodeHex(quote.body.report_data),
        init_data: encodeHex(quote.body.mr_config_id),
      }
      return [verifiedEvidence({ tee: 'tdx', teeClass: 'cpu', claims, passed: run.passed })]
    },
  }
}

function evidenceParts(
  evidence: JsonValue,
  requireEventLog: boolean,
): { bytes: Uint8Array; log?: Uint8Array } {
  const bytes = quoteBytes(evidence)
  const log = eventLogBytes(member(objectOf(evidence, 'evidence'), 'cc_eventlog'))
  if (log !== undefined) return { bytes, log }
  return requireEventLog ? fail('EVIDENCE_MALFORMED', 'cc_eventlog is required here') : { bytes }
}

function registers({ body }: TdQuote): Uint8Array[] {
  return [body.rtmr_0, body.rtmr_1, body.rtmr_2, body.rtmr_3]
}

const evidenceCheck: Check = {
  name: 'evidence-format',
  source: 'spec 04 §2',
  codes: ['EVIDENCE_MALFORMED', 'QUOTE_MALFORMED', 'EVENTLOG_MALFORMED'],
  protects: 'Ambiguous input could be read one way here and another way elsewhere.',
}
