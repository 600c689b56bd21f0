/** JSON Schema, drafts 4 to 7 without remote references: `json.match_schema`, `json.verify_schema`. */
import type { Context } from '../evaluate/context.ts'
import { parseJson, toJsonText } from '../values/json.ts'
import { isInteger } from '../values/number.ts'
import {
  compareValues,
  equalValues,
  isArray,
  isNumber,
  kindOf,
  objectOf,
  type RegoNumber,
  RegoObject,
  type Value,
} from '../values/value.ts'
import { type Builtin, BuiltinError, wrongKind } from './builtin.ts'
import { chargeMatch, pattern } from './regex.ts'

type Call = Builtin['call']

const TYPES = ['array', 'boolean', 'integer', 'number', 'null', 'object', 'string']

interface Finding {
  readonly type: string
  readonly field: string
  readonly description: string
}

function read(v: Value, context: Context): Value {
  if (typeof v !== 'string') return v
  try {
    return parseJson(v, { depth: context.limits.jsonDepth, bytes: context.limits.jsonBytes })
  } catch {
    throw new BuiltinError('invalid JSON text')
  }
}

/** A fault of the schema itself; undefined when there is none. */
function faultOf(schema: Value, context: Context, depth = 0): string | undefined {
  context.tick()
  if (typeof schema === 'boolean') return undefined
  if (!(schema instanceof RegoObject)) return 'jsonschema: a schema must be an object or a boolean'
  if (depth > context.limits.jsonDepth) return 'jsonschema: the schema nests too deep'
  const type = schema.get('type')
  for (const name of type === undefined ? [] : isArray(type) ? type : [type]) {
    if (typeof name !== 'string' || !TYPES.includes(name)) {
      const shown = typeof name === 'string' ? name : toJsonText(name)
      return `jsonschema: has a primitive type that is NOT VALID -- given: /${shown}/ Expected valid values are:[${TYPES.join(' ')}]`
    }
  }
  const reference = schema.get('$ref')
  if (typeof reference === 'string' && !reference.startsWith('#'))
    return 'jsonschema: remote references are not allowed'
  for (const sub of subschemas(schema)) {
    const fault = faultOf(sub, context, depth + 1)
    if (fault !== undefined) return fault
  }
  return undefined
}

const SINGLE = [
  'additionalItems',
  'additionalProperties',
  'contains',
  'else',
  'if',
  'not',
  'propertyNames',
  'then',
]
const LISTS = ['allOf', 'anyOf', 'oneOf']
const MAPS = ['definitions', '$defs', 'patternProperties', 'properties']

function* subschemas(schema: RegoObject): Generator<Value> {
  for (const name of SINGLE) {
    const sub = schema.get(name)
    if (sub !== undefined) yield sub
  }
  for (const name of LISTS) {
    const list = schema.get(name)
    if (isArray(list)) yield* list
  }
  for (const name of MAPS) {
    const map = schema.get(name)
    if (map instanceof RegoObject) for (const [, sub] of map.entries()) yield sub
  }
  const items = schema.get('items')
  if (isArray(items)) yield* items
  else if (items !== undefined) yield items
}

/** How the type of a value is called in findings. */
function typeOf(v: Value): string {
  const kind = kindOf(v)
  return kind === 'number' ? (isInteger(v as RegoNumber) ? 'integer' : 'number') : kind
}

function isOfType(v: Value, type: string): boolean {
  const actual = typeOf(v)
  return actual === type || (type === 'number' && actual === 'integer')
}

class Validator {
  readonly findings: Finding[] = []
  readonly #root: Value
  readonly #context: Context

  constructor(root: Value, context: Context) {
    this.#root = root
    this.#context = context
  }

  #add(type: string, field: string, description: string): void {
    if (this.findings.length < 1_000) this.findings.push({ type, field: field || '(root)', description })
  }

  #holds(schema: Value, v: Value, field: string): boolean {
    const inner = new Validator(this.#root, this.#context)
    inner.validate(schema, v, field)
    return inner.findings.length === 0
  }

  validate(schema: Value, v: Value, field: string): void {
    this.#context.enter()
    if (schema === false) this.#add('false', field, 'False always fails validation')
    else if (schema instanceof RegoObject) this.#validateObject(schema, v, field)
    this.#context.leave()
  }

  #validateObject(schema: RegoObject, v: Value, field: string): void {
    const reference = schema.get('$ref')
    if (typeof reference === 'string') {
      const target = this.#resolve(reference)
      if (target === undefined) throw new BuiltinError('a reference of the schema leads nowhere')
      this.validate(target, v, field)
      return
    }
    if (!this.#checkType(schema, v, field)) return
    this.#checkValue(schema, v, field)
    this.#combine(schema, v, field)
    if (isNumber(v)) this.#checkNumber(schema, v, field)
    else if (typeof v === 'string') this.#checkString(schema, v, field)
    else if (isArray(v)) this.#checkArray(schema, v, field)
    else if (v instanceof RegoObject) this.#checkObject(schema, v, field)
  }

  #resolve(reference: string): Value | undefined {
    let at: Value | undefined = this.#root
    for (const part of reference.split('/').slice(1)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      if (at instanceof RegoObject) at = at.get(key)
      else at = isArray(at) ? at[Number(key)] : undefined
    }
    return at
  }

  #checkType(schema: RegoObject, v: Value, field: string): boolean {
    const type = schema.get('type')
    if (type === undefined) return true
    const types = (isArray(type) ? type : [type]) as string[]
    if (types.some((name) => isOfType(v, name))) return true
    this.#add('invalid_type', field, `Invalid type. Expected: ${types.join(',')}, given: ${typeOf(v)}`)
    return false
  }

  #checkValue(schema: RegoObject, v: Value, field: string): void {
    const values = schema.get('enum')
    if (isArray(values) && !values.some((item) => equalValues(item, v))) {
      const shown = values.map(toJsonText).join(', ')
      this.#add('enum', field, `${field || '(root)'} must be one of the following: ${shown}`)
    }
    const constant = schema.get('const')
    if (constant !== undefined && !equalValues(constant, v)) {
      this.#add('const', field, `${field || '(root)'} does not match: ${toJsonText(constant)}`)
    }
  }

  #combine(schema: RegoObject, v: Value, field: string): void {
    const list = (name: string) => (schema.get(name) ?? []) as readonly Value[]
    for (const sub of list('allOf')) this.validate(sub, v, field)
    const any = list('anyOf')
    if (any.length > 0 && !any.some((sub) => this.#holds(sub, v, field))) {
      this.#add('number_any_of', field, 'Must validate at least one schema (anyOf)')
    }
    const one = list('oneOf')
    if (one.length > 0 && one.filter((sub) => this.#holds(sub, v, field)).length !== 1) {
      this.#add('number_one_of', field, 'Must validate one and only one schema (oneOf)')
    }
    const not = schema.get('not')
    if (not !== undefined && this.#holds(not, v, field)) {
      this.#add('number_not', field, 'Must not validate the schema (not)')
    }
    const condition = schema.get('if')
    if (condition === undefined) return
    const branch = schema.get(this.#holds(condition, v, field) ? 'then' : 'else')
    if (branch !== undefined) this.validate(branch, v, field)
  }

  #checkNumber(schema: RegoObject, v: RegoNumber, field: string): void {
    const limit = (name: string) => {
      const bound = schema.get(name)
      return isNumber(bound) ? bound : undefined
    }
    const minimum = limit('minimum')
    const maximum = limit('maximum')
    const above = schema.get('exclusiveMinimum') === true ? minimum : limit('exclusiveMinimum')
    const below = schema.get('exclusiveMaximum') === true ? maximum : limit('exclusiveMaximum')
    if (minimum !== undefined && v < minimum)
      this.#add('number_gte', field, `Must be greater than or equal to ${minimum}`)
    if (maximum !== undefined && v > maximum)
      this.#add('number_lte', field, `Must be less than or equal to ${maximum}`)
    if (above !== undefined && v <= above) this.#add('number_gt', field, `Must be greater than ${above}`)
    if (below !== undefined && v >= below) this.#add('number_lt', field, `Must be less than ${below}`)
    const step = limit('multipleOf')
    if (step !== undefined && step > 0 && !Number.isInteger(Number(v) / Number(step))) {
      this.#add('multiple_of', field, `Must be a multiple of ${step}`)
    }
  }

  #checkString(schema: RegoObject, v: string, field: string): void {
    const length = [...v].length
    const min = schema.get('minLength')
    const max = schema.get('maxLength')
    if (isNumber(min) && length < min)
      this.#add('string_gte', field, `String length must be greater than or equal to ${min}`)
    if (isNumber(max) && length > max)
      this.#add('string_lte', field, `String length must be less than or equal to ${max}`)
    const expression = schema.get('pattern')
    if (typeof expression === 'string' && !this.#matches(expression, v)) {
      this.#add('pattern', field, `Does not match pattern '${expression}'`)
    }
  }

  #matches(expression: string, v: string): boolean {
    const re = pattern(expression, this.#context)
    chargeMatch(re, v, this.#context)
    return re.matcher(v).find()
  }

  #checkArray(schema: RegoObject, v: readonly Value[], field: string): void {
    const at = (i: number) => (field ? `${field}.${i}` : String(i))
    const items = schema.get('items')
    const additional = schema.get('additionalItems')
    v.forEach((item, i) => {
      const sub = isArray(items) ? (items[i] ?? additional) : items
      if (sub !== undefined) this.validate(sub, item, at(i))
    })
    const min = schema.get('minItems')
    const max = schema.get('maxItems')
    if (isNumber(min) && v.length < min)
      this.#add('array_min_items', field, `Array must have at least ${min} items`)
    if (isNumber(max) && v.length > max)
      this.#add('array_max_items', field, `Array must have at most ${max} items`)
    if (schema.get('uniqueItems') === true) this.#checkUnique(v, field)
    const contains = schema.get('contains')
    if (contains !== undefined && !v.some((item, i) => this.#holds(contains, item, at(i)))) {
      this.#add('contains', field, 'At least one of the items must match')
    }
  }

  #checkUnique(v: readonly Value[], field: string): void {
    this.#context.charge(v.length * 4)
    const sorted = [...v].sort(compareValues)
    const twice = sorted.some((item, i) => i > 0 && equalValues(item, sorted[i - 1] as Value))
    if (twice) this.#add('unique', field, `${field || '(root)'} items must be unique`)
  }

  #checkObject(schema: RegoObject, v: RegoObject, field: string): void {
    const at = (name: Value) => (field ? `${field}.${name}` : String(name))
    for (const name of (schema.get('required') ?? []) as readonly Value[]) {
      if (!v.has(name)) this.#add('required', field, `${name} is required`)
    }
    const min = schema.get('minProperties')
    const max = schema.get('maxProperties')
    if (isNumber(min) && v.size < min)
      this.#add('array_min_properties', field, `Must have at least ${min} properties`)
    if (isNumber(max) && v.size > max)
      this.#add('array_max_properties', field, `Must have at most ${max} properties`)
    const properties = schema.get('properties')
    const patterns = schema.get('patternProperties')
    const additional = schema.get('additionalProperties')
    const names = schema.get('propertyNames')
    for (const [name, member] of v.entries()) {
      if (names !== undefined) this.validate(names, name, at(name))
      const own = properties instanceof RegoObject ? properties.get(name) : undefined
      const matching = this.#matchingPatterns(patterns, name)
      if (own !== undefined) this.validate(own, member, at(name))
      for (const sub of matching) this.validate(sub, member, at(name))
      if (own !== undefined || matching.length > 0 || additional === undefined) continue
      if (additional === false) {
        this.#add('additional_property_not_allowed', field, `Additional property ${name} is not allowed`)
      } else this.validate(additional, member, at(name))
    }
    this.#checkDependencies(schema, v, field)
  }

  #matchingPatterns(patterns: Value | undefined, name: Value): Value[] {
    if (!(patterns instanceof RegoObject) || typeof name !== 'string') return []
    return [...patterns.entries()].filter(([key]) => this.#matches(String(key), name)).map(([, sub]) => sub)
  }

  #checkDependencies(schema: RegoObject, v: RegoObject, field: string): void {
    const dependencies = schema.get('dependencies')
    if (!(dependencies instanceof RegoObject)) return
    for (const [name, needed] of dependencies.entries()) {
      if (!v.has(name)) continue
      if (!isArray(needed)) this.validate(needed, v, field)
      else if (!needed.every((other) => v.has(other))) {
        this.#add('missing_dependency', field, `Has a dependency on ${needed.find((other) => !v.has(other))}`)
      }
    }
  }
}

const matchSchema: Call = ([document, schema], context) => {
  if (typeof document !== 'string' && !(document instanceof RegoObject)) {
    throw wrongKind(0, 'object or JSON text', document as Value)
  }
  const read1 = read(document, context)
  const read2 = read(schema as Value, context)
  const fault = faultOf(read2, context)
  if (fault !== undefined) throw new BuiltinError(fault, { argument: 2 })
  const validator = new Validator(read2, context)
  validator.validate(read2, read1, '')
  const findings = validator.findings.map(({ type, field, description }) => {
    const members: [string, Value][] = [
      ['error', `${field}: ${description}`],
      ['type', type],
      ['field', field],
      ['desc', description],
    ]
    return objectOf(members)
  })
  return [findings.length === 0, findings]
}

const verifySchema: Call = ([schema], context) => {
  let fault: string | undefined
  try {
    fault = faultOf(read(schema as Value, context), context)
  } catch (error) {
    if (!(error instanceof BuiltinError)) throw error
    fault = `jsonschema: ${error.message}`
  }
  return fault === undefined ? [true, null] : [false, fault]
}

export const schemaBuiltins: readonly Builtin[] = [
  { name: 'json.match_schema', arity: 2, tier: 2, call: matchSchema },
  { name: 'json.verify_schema', arity: 1, tier: 2, call: verifySchema },
]
