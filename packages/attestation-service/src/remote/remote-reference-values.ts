import type { JsonValue } from '@passport-kbs/protocol'
import { isReferenceValueName, type ReferenceValues } from '../reference-values.ts'
import { assertServing, type CallOptions, openCalls } from './calls.ts'
import { serviceNames } from './proto.ts'
import { referenceValueCalls } from './reference-value-calls.ts'

export interface RemoteReferenceValuesOptions extends CallOptions {
  /** How long an answer serves for others who ask, in milliseconds; 0: not at all. */
  readonly cacheMs: number
  /** A monotonic clock in milliseconds. */
  readonly clock?: () => number
}

export interface RemoteReferenceValues extends ReferenceValues {
  /** Resolves when the provider serves. @throws AttestationUnavailable */
  ping(): Promise<void>
  close(): void
}

const who = 'the reference value provider'
/** As many values as a message may bring. */
const mostEntries = 1_000

interface Answer {
  readonly at: number
  readonly value: Promise<JsonValue | undefined>
}

/**
 * Reference values of a provider that runs elsewhere: Trustee's RVPS or AS, or our attestation service (spec 02 §6.4).
 * Whether a value has expired is the provider's to know. Many evaluations that ask for one name at a time cost one call.
 */
export function openRemoteReferenceValues(options: RemoteReferenceValuesOptions): RemoteReferenceValues {
  const { cacheMs, clock = () => performance.now() } = options
  const { ask, close } = openCalls(options)
  const calls = referenceValueCalls(ask, who)
  const answers = new Map<string, Answer>()

  const query = (name: string): Promise<JsonValue | undefined> => {
    if (!isReferenceValueName(name)) return Promise.resolve(undefined)
    const known = answers.get(name)
    if (known !== undefined && clock() - known.at < cacheMs) return known.value
    const answer: Answer = { at: clock(), value: calls.query(name) }
    answers.delete(name)
    const [oldest] = answers.keys()
    if (answers.size >= mostEntries && oldest !== undefined) answers.delete(oldest)
    answers.set(name, answer)
    // a failure is nobody's answer but of those who wait for it
    answer.value.catch(() => {
      if (answers.get(name) === answer) answers.delete(name)
    })
    return answer.value
  }
  return {
    async register(envelope) {
      try {
        return await calls.register(envelope)
      } finally {
        // it may have been taken, even where that was not said
        answers.clear()
      }
    },
    query,
    queryMany: (names) => Promise.all(names.map(query)),
    ping: () => assertServing(ask, serviceNames.referenceValues, who),
    close,
  }
}
