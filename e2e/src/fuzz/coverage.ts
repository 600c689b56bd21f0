/** Which places of the instrumented code an execution reached, how often, and how near its comparisons came. */

const capacity = 1 << 17
const recentComparisons = 256

/** A value that the code compared with another one, both as the code saw them. */
export type Compared = readonly [left: string | number | bigint, right: string | number | bigint]

export class Coverage {
  /** One counter for each place; it wraps. */
  readonly counters: Uint8Array = new Uint8Array(capacity)
  readonly #words = new Uint32Array(this.counters.buffer)
  /** For each place, the classes of counts that have been seen, as bits. */
  readonly #seen = new Uint8Array(capacity)
  /** For each comparison, how many leading characters or bits have agreed, at most. */
  readonly #nearest = new Uint8Array(capacity)
  #nearer = false
  readonly #compared: Compared[] = []
  #comparisons = 0
  places = 0
  covered = 0
  comparisonSites = 0

  place(): number {
    if (this.places >= capacity) throw new RangeError('too many places to count')
    return this.places++
  }

  comparisonSite(): number {
    return this.comparisonSites++ % capacity
  }

  /** Stands for `left === right` in instrumented code. */
  readonly equal = (site: number, left: unknown, right: unknown): boolean => {
    const equal = left === right
    if (!equal && typeof left === typeof right) this.#compare(site, left, right)
    return equal
  }

  #compare(site: number, left: unknown, right: unknown): void {
    if (typeof left === 'string' && typeof right === 'string') {
      if (left.length > 512 || right.length > 512 || left === '' || right === '') return
      this.#approach(site, commonPrefix(left, right))
      this.#remember([left, right])
    } else if (typeof left === 'number' && typeof right === 'number') {
      if (!Number.isInteger(left) || !Number.isInteger(right)) return
      this.#approach(site, Math.clz32(left ^ right))
      this.#remember([left, right])
    } else if (typeof left === 'bigint' && typeof right === 'bigint') this.#remember([left, right])
  }

  #approach(site: number, nearness: number): void {
    if (nearness > (this.#nearest[site] ?? 0)) {
      this.#nearest[site] = Math.min(nearness, 255)
      this.#nearer = true
    }
  }

  #remember(compared: Compared): void {
    this.#compared[this.#comparisons++ % recentComparisons] = compared
  }

  /** The last comparisons that failed, in no order. */
  get compared(): readonly Compared[] {
    return this.#compared
  }

  /** Before an execution. */
  reset(): void {
    this.counters.fill(0, 0, this.places)
    this.#nearer = false
  }

  /** After an execution: whether it showed anything that no execution before it did. */
  isNew(): boolean {
    let found = this.#nearer
    const words = Math.ceil(this.places / 4)
    for (let word = 0; word < words; word += 1) {
      if (this.#words[word] === 0) continue
      for (let place = word * 4; place < word * 4 + 4; place += 1) {
        const count = this.counters[place] ?? 0
        if (count !== 0 && this.#isNewAt(place, count)) found = true
      }
    }
    return found
  }

  #isNewAt(place: number, count: number): boolean {
    const seen = this.#seen[place] ?? 0
    const bit = classOf(count)
    if ((seen & bit) !== 0) return false
    if (seen === 0) this.covered += 1
    this.#seen[place] = seen | bit
    return true
  }
}

/** Counts that differ little are one class, so that a loop does not make every input interesting. */
function classOf(count: number): number {
  if (count < 4) return 1 << (count - 1)
  return 1 << Math.min(7, Math.floor(Math.log2(count)) + 1)
}

function commonPrefix(left: string, right: string): number {
  const end = Math.min(left.length, right.length)
  let index = 0
  while (index < end && left.charCodeAt(index) === right.charCodeAt(index)) index += 1
  return index
}
