/* This file imports nothing of the project: what is loaded before the instrumentation has no counters. */

/** One reader of untrusted bytes, as the fuzzer drives it. */
export interface FuzzTarget {
  readonly name: string
  /** Error classes that count as the typed rejection of an input. */
  readonly rejections: readonly (abstract new (
    ...parameters: never[]
  ) => Error)[]
  /** Bytes; longer inputs are not made. */
  readonly maxLength?: number
  /** Bytes that one execution may allocate. */
  readonly memoryBound?: number
  /** Words of the format, besides the literals that the fuzzer takes from the sources. */
  readonly words?: readonly string[]
  /** Valid inputs, and interesting invalid ones, to begin with. */
  seeds(): Iterable<Uint8Array> | Promise<Iterable<Uint8Array>>
  /** Must return or throw a typed rejection, whatever the input. */
  run(input: Uint8Array): unknown
}

/** What is wrong with an error that `target` threw; undefined when it is the typed rejection. */
export function faultOf(target: FuzzTarget, error: unknown): string | undefined {
  if (!target.rejections.some((rejection) => error instanceof rejection)) return 'not a typed rejection'
  if (error instanceof Error && error.name === 'EvidenceRejected' && isProgrammingError(error.cause)) {
    return 'a programming error behind a typed rejection'
  }
  return undefined
}

/** A verifier turns whatever happens in a check into a rejection; a defect must not hide there. */
function isProgrammingError(cause: unknown): boolean {
  return (
    (cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError) &&
    !('code' in cause)
  )
}
