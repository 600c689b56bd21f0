/** Builtins that touch the host: printing, tracing, and those that never run. */
import { PolicyEvaluationError } from '../errors.ts'
import { EMPTY_OBJECT } from '../values/value.ts'
import { type Builtin, stringAt } from './builtin.ts'

/** The compiler treats `print` itself, since undefined arguments must not stop it. */
const print: Builtin['call'] = () => true

function forbidden(name: string): Builtin {
  const call: Builtin['call'] = () => {
    throw new PolicyEvaluationError('builtin', `${name} reaches out to the network, which a policy may not`, {
      builtin: { name },
    })
  }
  return { name, arity: 1, tier: 4, call }
}

export const runtimeBuiltins: readonly Builtin[] = [
  { name: 'print', arity: 1, tier: 1, call: print },
  {
    name: 'trace',
    arity: 1,
    tier: 1,
    call: (args) => {
      stringAt(args, 0)
      return true
    },
  },
  { name: 'opa.runtime', arity: 0, tier: 2, call: () => EMPTY_OBJECT },
  forbidden('http.send'),
  forbidden('net.lookup_ip_addr'),
]
