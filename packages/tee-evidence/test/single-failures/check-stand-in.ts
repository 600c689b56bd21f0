import { vi } from 'vitest'
import { CheckRun, type VerifiedEvidence } from '../../src/index.ts'
import type { Attempt } from './subject.ts'

/** What each check gave when the genuine evidence passed it, by its name. */
export type CheckValues = ReadonlyMap<string, unknown>

/** Verifies, and notes what each check gives. Throws what the verifier throws. */
export async function recordChecks(
  attempt: Attempt,
): Promise<{ entry: VerifiedEvidence; values: CheckValues }> {
  const values = new Map<string, unknown>()
  const entry = await intercepted(attempt, {
    passed: (name, value) => values.set(name, value),
    failed: (_name, error) => {
      throw error
    },
  })
  return { entry, values }
}

/**
 * Verifies as if the check `name` could not fail: where it does, what it gave for the genuine evidence stands in.
 * Every other check is made for real. Throws what the verifier throws.
 */
export function verifyWithout(
  name: string,
  attempt: Attempt,
  genuine: CheckValues,
): Promise<VerifiedEvidence> {
  return intercepted(attempt, {
    passed: () => undefined,
    failed: (failedName, error) => {
      if (failedName !== name) throw error
      return genuine.get(name)
    },
  })
}

interface Interception {
  passed(name: string, value: unknown): void
  /** Gives what the verifier goes on with, or throws. */
  failed(name: string, error: unknown): unknown
}

async function intercepted(
  { verifier, evidence, request }: Attempt,
  { passed, failed }: Interception,
): Promise<VerifiedEvidence> {
  const { make, makeAsync } = CheckRun.prototype
  const sync = vi.spyOn(CheckRun.prototype, 'make').mockImplementation(function (
    this: CheckRun,
    name,
    check,
  ) {
    return make.call(this, name, () => {
      let value: unknown
      try {
        value = check()
      } catch (error) {
        return failed(name, error)
      }
      passed(name, value)
      return value
    })
  })
  const async = vi.spyOn(CheckRun.prototype, 'makeAsync').mockImplementation(function (
    this: CheckRun,
    name,
    check,
  ) {
    return makeAsync.call(this, name, async () => {
      let value: unknown
      try {
        value = await check()
      } catch (error) {
        return failed(name, error)
      }
      passed(name, value)
      return value
    })
  })
  try {
    const [entry] = await verifier.verify(evidence, request)
    if (entry === undefined) throw new Error('no entry')
    return entry
  } finally {
    sync.mockRestore()
    async.mockRestore()
  }
}
