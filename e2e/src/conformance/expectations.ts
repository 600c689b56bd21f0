/** Compares what happened in a case with what its vector expects. */
import {
  isJsonObject,
  JsonDecimal,
  type JsonObject,
  type JsonValue,
  stringifyJson,
} from '@passport-kbs/protocol'
import type { Outcome, VectorCase } from './vector-case.ts'

/** One sentence for each expectation that is not met; empty when the case passes. */
export function unmetExpectations(vectorCase: VectorCase, outcome: Outcome): string[] {
  const { expect } = vectorCase
  if (outcome.result === 'reject') return unmetByRejection(expect, outcome.code, outcome.detail)
  if (expect.result !== 'accept') return [`accepted, expected ${listed(expect.codes)}`]
  return [
    ...unmetClaims(vectorCase, expect, outcome.claims),
    ...unmetSubset(expect, outcome.claims),
    ...(outcome.failures ?? []),
  ]
}

function unmetByRejection(expect: JsonObject, code: string, detail: string): string[] {
  if (expect.result !== 'reject') return [`rejected with ${code} (${detail}), expected to be accepted`]
  const codes = Array.isArray(expect.codes) ? expect.codes : []
  return codes.includes(code) ? [] : [`rejected with ${code} (${detail}), expected ${listed(expect.codes)}`]
}

function listed(codes: JsonValue | undefined): string {
  return Array.isArray(codes) ? `a rejection with ${codes.join(' or ')}` : 'a rejection'
}

function unmetClaims(vectorCase: VectorCase, expect: JsonObject, claims: JsonObject): string[] {
  if (typeof expect.claims !== 'string') return []
  const expected = vectorCase.readJson(expect.claims)
  return differences(expected, claims, 'claims')
}

function unmetSubset(expect: JsonObject, claims: JsonObject): string[] {
  const subset = expect.claims_subset
  if (!isJsonObject(subset)) return []
  return Object.entries(subset).flatMap(([name, value]) =>
    differences(value, Object.hasOwn(claims, name) ? claims[name] : undefined, name),
  )
}

/** Where `actual` differs from `expected`: exact types and values, member order aside. */
export function differences(
  expected: JsonValue | undefined,
  actual: JsonValue | undefined,
  path: string,
): string[] {
  if (isJsonObject(expected) && isJsonObject(actual)) {
    const names = new Set([...Object.keys(expected), ...Object.keys(actual)])
    return [...names].flatMap((name) => differences(expected[name], actual[name], `${path}.${name}`))
  }
  if (Array.isArray(expected) && Array.isArray(actual) && expected.length === actual.length) {
    return expected.flatMap((entry, index) => differences(entry, actual[index], `${path}[${index}]`))
  }
  const [wanted, found] = [scalar(expected), scalar(actual)]
  return wanted === found ? [] : [`${path} is ${shortened(found)}, not ${shortened(wanted)}`]
}

/** Integers compare equal whether kept as number or bigint. */
function scalar(value: JsonValue | undefined): string {
  if (value === undefined) return 'absent'
  if (value instanceof JsonDecimal) return String(value.toNumber())
  if (typeof value === 'bigint' || typeof value === 'number') return String(value)
  return Array.isArray(value) || isJsonObject(value) ? stringifyJson(value) : JSON.stringify(value)
}

function shortened(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
