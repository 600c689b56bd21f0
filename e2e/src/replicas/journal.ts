/**
 * How a request ended for its client: `done` with 200; `refused` with 4xx; `unavailable` with 503 and the error body that
 * guests parse; `cut`, the connection ended without a complete answer; `wrong`, everything else.
 */
export type Outcome = 'done' | 'refused' | 'unavailable' | 'cut' | 'wrong'

/** One request, as its client saw it. */
export interface Observation {
  /** What was asked for, e.g. `attest`. */
  readonly operation: string
  readonly outcome: Outcome
  /** In milliseconds of `performance.now()`. */
  readonly startedAt: number
  readonly endedAt: number
  /** Of a complete answer. */
  readonly requestId: string | undefined
  readonly detail: string
}

/** A complete answer. */
export interface Heard {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface Asking {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array<ArrayBuffer>
  /** On a connection of its own, instead of one that is kept. */
  readonly fresh?: boolean
}

/** Longer than any request may take: what is not answered by then hangs. */
const patienceMs = 20_000

/** All requests of a load, in the order in which they ended. */
export class Journal {
  readonly observations: Observation[] = []
  readonly #listeners = new Set<(observation: Observation) => void>()

  /** Sends a request and notes how it ended. Undefined where no complete answer came. */
  async ask(operation: string, url: string, asking: Asking = {}): Promise<Heard | undefined> {
    const { method = 'POST', headers = {}, body, fresh = false } = asking
    const startedAt = performance.now()
    const note = (outcome: Outcome, detail: string, requestId?: string) => {
      const observation = { operation, outcome, startedAt, endedAt: performance.now(), requestId, detail }
      this.observations.push(observation)
      for (const listener of this.#listeners) listener(observation)
    }
    let heard: Heard
    try {
      const answer = await fetch(url, {
        method,
        headers: { ...headers, ...(fresh ? { connection: 'close' } : {}) },
        signal: AbortSignal.timeout(patienceMs),
        ...(body === undefined ? {} : { body }),
      })
      heard = { status: answer.status, headers: answer.headers, text: await answer.text() }
    } catch (error) {
      const isLate = error instanceof Error && error.name === 'TimeoutError'
      note(isLate ? 'wrong' : 'cut', isLate ? 'no answer at all' : reasonOf(error))
      return undefined
    }
    const outcome = outcomeOf(heard)
    note(
      outcome,
      outcome === 'done' ? '' : `${heard.status} ${heard.text.slice(0, 400)}`,
      heard.headers.get('x-request-id') ?? undefined,
    )
    return heard
  }

  /** Resolves with the next request to end so that `matches`; rejects after `limitMs`. */
  async next(matches: (observation: Observation) => boolean, limitMs = 10_000): Promise<Observation> {
    const { promise, resolve, reject } = Promise.withResolvers<Observation>()
    const listener = (observation: Observation) => {
      if (matches(observation)) resolve(observation)
    }
    const timer = setTimeout(() => reject(new Error(`nothing of the kind within ${limitMs} ms`)), limitMs)
    this.#listeners.add(listener)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#listeners.delete(listener)
    }
  }

  /** Ids of all requests that were answered completely. */
  answered(): ReadonlySet<string> {
    return new Set(this.observations.flatMap(({ requestId }) => (requestId === undefined ? [] : [requestId])))
  }
}

function outcomeOf({ status, headers, text }: Heard): Outcome {
  if (status === 200) return 'done'
  if (!isErrorBody(status, headers, text)) return 'wrong'
  if (status === 503) return 'unavailable'
  return status >= 400 && status < 500 ? 'refused' : 'wrong'
}

/** What guests parse (spec 01 §1.3), and nothing of what is behind it. */
function isErrorBody(status: number, headers: Headers, text: string): boolean {
  if (headers.get('content-type') !== 'application/json') return false
  if (/redis|postgres|ECONN|127\.0\.0\.1/i.test(text)) return false
  try {
    const body = JSON.parse(text) as Readonly<Record<string, unknown>>
    const isKind = String(body.type).startsWith('https://github.com/confidential-containers/kbs/errors/')
    return isKind && typeof body.detail === 'string' && body.status === status
  } catch {
    return false
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const { cause } = error
  return cause instanceof Error
    ? `${(cause as NodeJS.ErrnoException).code ?? ''} ${cause.message}`
    : error.message
}
