import { decodeHex, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import {
  CheckRun,
  EvidenceRejected,
  eventLogChecks,
  type MeasurementBank,
  verifyEventLog,
} from '../../src/index.ts'
import { vectorBytes, vectorCases, vectorJson, vectors } from './vectors.ts'

interface Expectation extends JsonObject {
  result: 'accept' | 'reject'
}

function mutated(log: Uint8Array, mutations: JsonValue | undefined): Uint8Array {
  let bytes = Buffer.from(log)
  for (const step of (mutations ?? []) as JsonObject[]) {
    const { op, offset = 0, value = 0, length = 0, remove = 0, hex = '' } = step as Record<string, never>
    if (op === 'bytes-set') bytes.writeUInt8(value, offset)
    else if (op === 'bytes-xor') bytes.writeUInt8((bytes[offset] ?? 0) ^ value, offset)
    else if (op === 'bytes-truncate') bytes = bytes.subarray(0, length)
    else if (op === 'bytes-splice') {
      bytes = Buffer.concat([
        bytes.subarray(0, offset),
        Buffer.from(hex, 'hex'),
        bytes.subarray(offset + remove),
      ])
    } else throw new Error(`unknown mutation ${op}`)
  }
  return bytes
}

function verify(testCase: JsonObject): JsonObject[] {
  const log = mutated(vectorBytes('eventlog', String(testCase.log)), testCase.mutations)
  const registers = (testCase.registers as string[]).map(decodeHex)
  return verifyEventLog(new CheckRun(eventLogChecks), log, testCase.algorithm as MeasurementBank, registers)
}

function details(claims: readonly JsonObject[]): JsonObject[] {
  return claims.map((claim) => claim.details as JsonObject)
}

describe.skipIf(vectors === undefined)('the published event log vectors', () => {
  it.each(vectorCases('eventlog', 'cases.json').map((testCase) => [testCase.id, testCase] as const))(
    '%s',
    (_id, testCase) => {
      const expected = testCase.expect as Expectation
      if (expected.result === 'reject') {
        try {
          verify(testCase)
        } catch (error) {
          expect(error).toBeInstanceOf(EvidenceRejected)
          expect(expected.codes).toContain((error as EvidenceRejected).code)
          return
        }
        expect.unreachable('accepted')
      }
      const claims = verify(testCase)
      expect(claims).toHaveLength(expected.event_count as number)
      if (expected.claims !== undefined) {
        const file = vectorJson('eventlog', String(expected.claims)) as JsonObject
        expect({ uefi_event_logs: claims }).toEqual(file)
      }
      if (expected.strings !== undefined) {
        expect(details(claims).flatMap((entry) => entry.string ?? [])).toEqual(expected.strings)
      }
      if (expected.device_paths !== undefined) {
        expect(details(claims).flatMap((entry) => entry.device_paths ?? [])).toEqual(expected.device_paths)
      }
      if (expected.digest_matches_event !== undefined) {
        expect(claims.map((claim) => claim.digest_matches_event)).toEqual(expected.digest_matches_event)
      }
      if (expected.no_action_never_matches === true) {
        const noAction = claims.filter((claim) => claim.type_name === 'EV_NO_ACTION')
        expect(noAction.length).toBeGreaterThan(0)
        expect(noAction.every((claim) => claim.digest_matches_event === false)).toBe(true)
      }
    },
  )
})
