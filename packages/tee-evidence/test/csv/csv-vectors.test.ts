import {
  decodeHex,
  isJsonObject,
  type JsonObject,
  JsonSyntaxError,
  type JsonValue,
} from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { createCsvVerifier, EvidenceRejected, hskCekOffer, hygonRoot } from '../../src/index.ts'
import { vectorBytes, vectorCases, vectorJson, vectors } from '../eventlog/vectors.ts'

type Container = Record<string | number, JsonValue>

function mutated(evidence: JsonValue, mutations: readonly JsonObject[]): JsonValue {
  for (const mutation of mutations) {
    const path = mutation.path as (string | number)[]
    const container = path.slice(0, -1).reduce((value, step) => (value as Container)[step] ?? null, evidence)
    const name = path.at(-1) ?? ''
    const target = container as Container
    if (mutation.op === 'json-set') target[name] = mutation.value ?? null
    else if (mutation.op === 'json-delete') delete target[name]
    else target[name] = changedBytes(target[name] as number[], mutation)
  }
  return evidence
}

function changedBytes(bytes: readonly number[], mutation: JsonObject): number[] {
  const { op, offset, value, length, hex } = mutation
  if (op === 'bytes-xor') return bytes.map((byte, at) => (at === offset ? byte ^ Number(value) : byte))
  if (op === 'bytes-truncate') return bytes.slice(0, Number(length))
  if (op === 'bytes-append') return [...bytes, ...decodeHex(String(hex))]
  throw new Error(`unknown mutation ${String(op)}`)
}

async function claimsOf(testCase: JsonObject): Promise<JsonObject | undefined> {
  const files = testCase.offline_hsk_cek
  const verifier = createCsvVerifier({
    root: hygonRoot(vectorBytes('csv', String(testCase.trust_root ?? 'hrk.cert'))),
    allowDebug: isJsonObject(testCase.options) && testCase.options.allow_debug === true,
    certificateSource: {
      name: 'vector',
      hskCek: async (chipId) => {
        const file = isJsonObject(files) ? files[chipId] : undefined
        return file === undefined ? undefined : hskCekOffer(vectorBytes('csv', String(file)))
      },
    },
  })
  const evidence = mutated(
    vectorJson('csv', String(testCase.evidence)),
    (testCase.mutations ?? []) as JsonObject[],
  )
  const [entry] = await verifier.verify(evidence, {
    now: new Date('2026-01-15T00:00:00Z'),
    ...hexField('expectedReportData', testCase.expected_report_data),
    ...hexField('expectedInitDataDigest', testCase.expected_init_data_digest),
  })
  return entry?.claims
}

function hexField(name: string, value: JsonValue | undefined): Record<string, Uint8Array> {
  return typeof value === 'string' ? { [name]: decodeHex(value) } : {}
}

describe.skipIf(vectors === undefined)('the published CSV vectors', () => {
  it.each(vectorCases('csv', 'cases.json').map((testCase) => [testCase.id, testCase] as const))(
    '%s',
    async (_id, testCase) => {
      const expected = testCase.expect as JsonObject
      if (expected.result === 'reject') {
        const error = await claimsOf(testCase).catch((reason: unknown) => reason)
        if (error instanceof JsonSyntaxError) expect(expected.codes).toContain('EVIDENCE_MALFORMED')
        else {
          expect(error).toBeInstanceOf(EvidenceRejected)
          expect(expected.codes).toContain((error as EvidenceRejected).code)
        }
        return
      }
      expect(await claimsOf(testCase)).toEqual({
        ...(vectorJson('csv', String(expected.claims)) as JsonObject),
      })
    },
  )
})
