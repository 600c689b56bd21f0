import {
  decodeHex,
  EncodingError,
  isJsonObject,
  JsonSyntaxError,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
} from '@passport-kbs/protocol'
import {
  type Check,
  type CollateralSource,
  EvidenceRejected,
  type VerifiedEvidence,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { readBytes } from '../files.ts'
import { indentedJson } from '../json-text.ts'
import { noCollateral, offlineTees, offlineVerifier, recordedCollateral } from '../offline-verifier.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface VerifyOptions {
  readonly tee: string
  /** Hexadecimal: the digest that the evidence must carry. */
  readonly reportData: string
  readonly initDataDigest?: string
  /** The time for certificates and collateral, RFC 3339; now unless told. */
  readonly at?: string
  /** File with Intel's collateral. */
  readonly collateral?: string
  readonly json?: boolean
}

/**
 * `not-made`: there was nothing to compare, or the check is one that only configuration asks for. `not-reached`: the
 * verification ended before, or the check would not have been made.
 */
type CheckState = 'passed' | 'failed' | 'not-made' | 'not-reached'

interface Report {
  readonly verified: boolean
  readonly checks: readonly { readonly check: Check; readonly state: CheckState }[]
  readonly rejection?: EvidenceRejected
  readonly entries: readonly VerifiedEvidence[]
}

const maxEvidenceBytes = 16 * 1024 * 1024

/**
 * Verifies one recorded evidence with the pinned roots and without network, and prints every check and the claims.
 * @returns whether it is verified.
 */
export async function verify(terminal: Terminal, file: string, options: VerifyOptions): Promise<boolean> {
  const verifier = offlineVerifier(options.tee, await collateralOf(terminal, options.collateral))
  if (verifier === undefined) {
    throw new CommandFailed(`${options.tee} cannot be verified offline; one of ${offlineTees.join(', ')} can`)
  }
  const request = {
    now: timeOf(terminal, options.at),
    expectedReportData: hexOption('--report-data', options.reportData),
    ...(options.initDataDigest === undefined
      ? {}
      : { expectedInitDataDigest: hexOption('--init-data-digest', options.initDataDigest) }),
  }
  const report = await reportOn(verifier, await readJson(terminal, file), request)
  if (options.json) terminal.out(stringifyJson(reportJson(verifier, report)))
  else for (const line of reportLines(verifier, report)) terminal.out(line)
  return report.verified
}

async function reportOn(
  verifier: Verifier,
  evidence: JsonValue,
  request: Parameters<Verifier['verify']>[1],
): Promise<Report> {
  try {
    const entries = await verifier.verify(evidence, request)
    const passed = new Set(entries.flatMap((entry) => entry.passed))
    const checks = verifier.checks.map((check) => ({
      check,
      state: passed.has(check.name) ? ('passed' as const) : ('not-made' as const),
    }))
    return { verified: true, checks, entries }
  } catch (error) {
    if (!(error instanceof EvidenceRejected)) throw error
    const checks = verifier.checks.map((check) => ({ check, state: stateAt(error, check) }))
    return { verified: false, checks, rejection: error, entries: [] }
  }
}

/** The order of the list is not always the order of the checks, so that only the rejection can tell which had passed. */
function stateAt(rejection: EvidenceRejected, check: Check): CheckState {
  if (check.name === rejection.check) return 'failed'
  return rejection.passed.includes(check.name) ? 'passed' : 'not-reached'
}

function reportLines(verifier: Verifier, { verified, checks, rejection, entries }: Report): string[] {
  const width = Math.max(...checks.map(({ check }) => check.name.length))
  return [
    `${verifier.tee}: ${verified ? 'verified' : 'REFUSED'}`,
    ...checks.map(({ check, state }) => `  ${state.padEnd(12)} ${check.name.padEnd(width)}  ${check.source}`),
    ...(rejection === undefined ? [] : [`${rejection.code}: ${rejection.detail}`]),
    ...entries.flatMap((entry) => [`claims (${entry.teeClass})`, indentedJson(entry.claims)]),
  ]
}

function reportJson(verifier: Verifier, { verified, checks, rejection, entries }: Report): JsonValue {
  return jsonObject({
    tee: verifier.tee,
    verified,
    checks: checks.map(({ check, state }) => jsonObject({ name: check.name, state, source: check.source })),
    ...(rejection === undefined
      ? {}
      : {
          rejection: jsonObject({ code: rejection.code, check: rejection.check, detail: rejection.detail }),
        }),
    evidence: entries.map(({ tee, teeClass, claims }) => jsonObject({ tee, class: teeClass, claims })),
  })
}

async function collateralOf(terminal: Terminal, file: string | undefined): Promise<CollateralSource> {
  if (file === undefined) return noCollateral
  const bundle = await readJson(terminal, file)
  try {
    if (isJsonObject(bundle)) return recordedCollateral(bundle)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
  }
  throw new CommandFailed(`${file} is not a bundle of collateral`)
}

async function readJson(terminal: Terminal, file: string): Promise<JsonValue> {
  const bytes = await readBytes(terminal, file)
  try {
    return parseJson(bytes, { maxBytes: maxEvidenceBytes })
  } catch (cause) {
    if (cause instanceof JsonSyntaxError) throw new CommandFailed(`${file}: ${cause.message}`, { cause })
    throw cause
  }
}

function timeOf(terminal: Terminal, at: string | undefined): Date {
  if (at === undefined) return terminal.now()
  const time = new Date(at)
  if (!/^\d{4}-\d\d-\d\d(?:T.+(?:Z|[+-]\d\d:\d\d))?$/.test(at) || Number.isNaN(time.getTime())) {
    throw new CommandFailed('--at is not a time such as 2026-01-31T12:00:00Z')
  }
  return time
}

function hexOption(name: string, text: string): Uint8Array {
  try {
    return decodeHex(text)
  } catch (cause) {
    throw new CommandFailed(`${name} is not hexadecimal`, { cause })
  }
}
