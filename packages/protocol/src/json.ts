/**
 * JSON as evidence needs it: exact integers, no duplicate member names, bounded depth.
 * `JSON.parse` gives neither exact 64-bit integers nor a refusal of duplicates (spec 03 §2.4).
 */

/** A number token with a fraction or an exponent, kept as text so that `1.0` and `1` stay different. */
export class JsonDecimal {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
  /** The nearest IEEE double. */
  toNumber(): number {
    return Number(this.text)
  }
}

/** Objects have a null prototype, so `__proto__` and the like are ordinary members. */
export interface JsonObject {
  [name: string]: JsonValue
}

/** Integers are `number` when safe and `bigint` beyond; other numbers are `JsonDecimal`. */
export type JsonValue = null | boolean | number | bigint | JsonDecimal | string | JsonValue[] | JsonObject
