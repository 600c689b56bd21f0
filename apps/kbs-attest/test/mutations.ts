/**
 * Texts that are almost `text`: bytes changed, removed, doubled, cut off, or replaced by what parsers trip over. The
 * same ones on every run.
 */
export function* mutations(text: string, count: number): Generator<Uint8Array<ArrayBuffer>> {
  const source = Buffer.from(text)
  let state = 0x2545f491
  const random = (below: number) => {
    // xorshift32
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
  const splice = (at: number, remove: number, insert: Uint8Array | string) =>
    Uint8Array.from(
      Buffer.concat([source.subarray(0, at), Buffer.from(insert), source.subarray(at + remove)]),
    )
  for (let n = 0; n < count; n++) {
    const at = random(source.length)
    const length = 1 + random(40)
    switch (n % 5) {
      case 0:
        yield splice(at, 1, Uint8Array.of(random(256)))
        break
      case 1:
        yield splice(at, length, '')
        break
      case 2:
        yield splice(at, 0, source.subarray(at, at + length))
        break
      case 3:
        yield splice(at, source.length, '')
        break
      default:
        yield splice(at, random(3) * length, tripwires[random(tripwires.length)] ?? '')
    }
  }
}

const tripwires = [
  ...['"', '\\', '{', '}', '[', ']', ',', ':', 'null', 'true', '-', '1e999', '-0', '1'.repeat(400)],
  ...['"__proto__":{},', '"constructor":1,', '\\u0000', '\\ud800', '\u0000', '\uFEFF', '\u202E', '..', '%00'],
  ...['['.repeat(100), '{"a":'.repeat(100), 'é', '💥', '\n', '\t', '//', '/*', "'", '`', '=', '=='],
]
