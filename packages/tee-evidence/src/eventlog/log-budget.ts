import { fail } from '../rejection.ts'

/**
 * What all entries of one log together may cost beyond reading and hashing it. A log of 1.25 MiB could hold 300 000
 * device path nodes or as many JSON values; a real one has fewer than a hundred nodes and a few KiB of JSON.
 */
export class LogBudget {
  #devicePathNodes = 4096
  #jsonCharacters = 256 * 1024

  /** @throws CheckFailure EVENTLOG_MALFORMED when the log has more than 4096 device path nodes. */
  spendDevicePathNode(): void {
    this.#devicePathNodes -= 1
    if (this.#devicePathNodes < 0) fail('EVENTLOG_MALFORMED', 'more than 4096 device path nodes')
  }

  /** @throws CheckFailure EVENTLOG_MALFORMED when the AAEL contents that may be JSON exceed 256 Ki characters. */
  spendJson(characters: number): void {
    this.#jsonCharacters -= characters
    if (this.#jsonCharacters < 0) fail('EVENTLOG_MALFORMED', 'more than 256 Ki characters of AAEL content')
  }
}
