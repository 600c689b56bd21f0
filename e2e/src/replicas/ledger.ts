import { createHash } from 'node:crypto'

/** How a write ended for the one who wrote: `unknown` is every end but an acknowledgement. */
export type WriteEnd = 'acknowledged' | 'refused' | 'unknown'

interface Write {
  readonly value: string
  readonly startedAt: number
  endedAt: number
  end: WriteEnd
}

/**
 * What one writer a key was told of its writes, which it makes one after the other. What has been acknowledged must be
 * there afterwards, unless a write without an answer has taken effect after it: a later one, or an earlier one that was
 * still on its way. No way takes longer than `settlingMs`, counted from when its writer gave it up.
 */
export class Ledger {
  readonly #writes = new Map<string, Write[]>()
  readonly #settlingMs: number

  constructor(settlingMs: number) {
    this.#settlingMs = settlingMs
  }

  /** Makes the next write of a key; `send` says how it ended. */
  async write(key: string, value: string, send: () => Promise<WriteEnd>): Promise<WriteEnd> {
    const writes = this.#writes.get(key) ?? []
    this.#writes.set(key, writes)
    const write: Write = {
      value,
      startedAt: performance.now(),
      endedAt: Number.POSITIVE_INFINITY,
      end: 'unknown',
    }
    writes.push(write)
    write.end = await send()
    write.endedAt = performance.now()
    return write.end
  }

  /** Of all keys. */
  acknowledged(): number {
    return [...this.#writes.values()].flat().filter(({ end }) => end === 'acknowledged').length
  }

  get keys(): readonly string[] {
    return [...this.#writes.keys()]
  }

  /** Whether for each key that was written more than once only the last acknowledged value may be there. */
  isSettled(): boolean {
    return [...this.#writes].every(([key, { length }]) => length === 1 || this.allowed(key).length === 1)
  }

  /** What may be there now. */
  allowed(key: string): readonly (string | undefined)[] {
    const writes = this.#writes.get(key) ?? []
    const last = writes.findLastIndex(({ end }) => end === 'acknowledged')
    const onTheirWay = writes.filter(
      ({ end, endedAt }, index) =>
        end === 'unknown' &&
        !writes.some(
          (other, otherIndex) =>
            otherIndex > index &&
            other.end === 'acknowledged' &&
            other.startedAt > endedAt + this.#settlingMs,
        ),
    )
    return [writes[last]?.value, ...onTheirWay.map(({ value }) => value)]
  }

  /** Says what is wrong with a value that was read; undefined where nothing is. */
  fault(key: string, found: string | undefined): string | undefined {
    if (this.allowed(key).includes(found)) return undefined
    const writes = this.#writes.get(key) ?? []
    const index = writes.findIndex(({ value }) => value === found)
    const last = writes.findLastIndex(({ end }) => end === 'acknowledged')
    if (found === undefined) return `${key}: nothing there, though write ${last} was acknowledged`
    if (index === -1) return `${key}: a value that nobody has written: ${digest(found)}`
    return `${key}: write ${index} (${writes[index]?.end}), though write ${last} was acknowledged after it`
  }
}

function digest(text: string): string {
  return `${text.length} characters, SHA-256 ${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
}
