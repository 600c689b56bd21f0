/** What to do about a finding. */
import type { PolicyDiagnostic } from '../errors.ts'

type Code = PolicyDiagnostic['code']

const remedies: Readonly<Record<Code, string>> = {
  syntax:
    'correct the text at this place; policies of before Rego v1 need `if` before bodies and `contains` for sets',
  dialect: 'write Rego v1, as the services expect, or check with the older dialect',
  unsafe_variable: 'bind the variable before it is used: `x := …`, or `some x in …`',
  undefined_name: 'define a rule of this name, import it, or correct the spelling; strings need quotes',
  unknown_function:
    'correct the name; reference values are for attestation policies, not for resource policies',
  arity: 'give the function as many arguments as it takes',
  recursion: 'break the circle: a rule must not need itself',
  conflicting_rules: 'give the rules different names, or define one rule in one way',
  bad_default: 'use a constant as the default and compute in another rule',
  shadowing: 'choose another name for the variable',
  forbidden_builtin: 'leave it out: a policy sees its input, its data and reference values, nothing else',
  source_limit: 'make the policy smaller or simpler',
  package_name: 'start the policy with `package policy`: the services ask for rules of that package only',
  missing_rule: 'add the rule, with a default for what no body covers',
  null_comparison: 'use `in` with a list, or bind the value and test `!= null` first',
  never_holds: 'correct the expression, or delete the body: as it is it can only deny',
  unknown_claim: 'correct the path; `kbsctl policy claims` lists those that there are',
  unknown_reference_value: 'register the reference value; until then the answer is null',
}

/** One sentence for the administrator. */
export function remedyOf(code: Code): string {
  return remedies[code]
}
