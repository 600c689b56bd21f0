/** Hashes and message authentication codes; hex in lower case. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { type Builtin, stringAt } from './builtin.ts'

function hash(algorithm: string): Builtin {
  const call: Builtin['call'] = (args, context) => {
    const text = stringAt(args, 0)
    context.charge(1 + text.length / 64)
    return createHash(algorithm).update(text).digest('hex')
  }
  return { name: `crypto.${algorithm}`, arity: 1, tier: 2, call }
}

function hmac(algorithm: string): Builtin {
  const call: Builtin['call'] = (args, context) => {
    const text = stringAt(args, 0)
    context.charge(1 + text.length / 64)
    return createHmac(algorithm, stringAt(args, 1)).update(text).digest('hex')
  }
  return { name: `crypto.hmac.${algorithm}`, arity: 2, tier: 2, call }
}

const equal: Builtin['call'] = (args) => {
  const a = Buffer.from(stringAt(args, 0))
  const b = Buffer.from(stringAt(args, 1))
  return a.length === b.length && timingSafeEqual(a, b)
}

export const cryptoBuiltins: readonly Builtin[] = [
  ...['md5', 'sha1', 'sha256'].map(hash),
  ...['md5', 'sha1', 'sha256', 'sha512'].map(hmac),
  { name: 'crypto.hmac.equal', arity: 2, tier: 2, call: equal },
]
