import type { z } from 'zod'

/** The parts of zod's definitions that are looked at here. */
interface Definition {
  readonly type: string
  readonly shape?: Record<string, z.core.$ZodType>
  readonly innerType?: z.core.$ZodType
  readonly in?: z.core.$ZodType
  readonly out?: z.core.$ZodType
  readonly element?: z.core.$ZodType
  readonly options?: readonly z.core.$ZodType[]
  readonly values?: readonly unknown[]
  readonly entries?: Record<string, string>
  readonly defaultValue?: unknown
  readonly discriminator?: string
}

/** What a schema is once its optional, default and preprocessing layers are taken off. */
export interface Unwrapped {
  readonly schema: z.core.$ZodType
  readonly definition: Definition
  readonly optional: boolean
  readonly defaultValue: unknown
  readonly description: string | undefined
}

export function unwrap(schema: z.core.$ZodType): Unwrapped {
  let current = schema
  let optional = false
  let defaultValue: unknown
  let description: string | undefined
  for (;;) {
    description ??= (current as z.ZodType).description
    const definition = current._zod.def as unknown as Definition
    if (definition.type === 'default' || definition.type === 'prefault') {
      defaultValue ??= definition.defaultValue
      optional = true
    }
    if (definition.type === 'optional') optional = true
    const inner = definition.type === 'pipe' ? definition.out : definition.innerType
    if (inner === undefined) return { schema: current, definition, optional, defaultValue, description }
    current = inner
  }
}

/** Member schemas of an object, or of all objects of a union. */
export function membersOf(schema: z.core.$ZodType): Map<string, z.core.$ZodType> {
  const { definition } = unwrap(schema)
  if (definition.shape !== undefined) return new Map(Object.entries(definition.shape))
  return new Map((definition.options ?? []).flatMap((option) => [...membersOf(option)]))
}

/** The schema at a path of a document, or undefined where the schema has no such place. */
export function schemaAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): z.core.$ZodType | undefined {
  let current: z.core.$ZodType | undefined = schema
  for (const step of path) {
    if (current === undefined) return undefined
    current = typeof step === 'number' ? elementOf(current) : membersOf(current).get(String(step))
  }
  return current
}

function elementOf(schema: z.core.$ZodType): z.core.$ZodType | undefined {
  const { definition } = unwrap(schema)
  if (definition.element !== undefined) return definition.element
  return definition.options?.map(elementOf).find((element) => element !== undefined)
}

/** A type in words: `text`, `whole number`, `list of text`, `"a" \| "b"`. */
export function typeInWords(schema: z.core.$ZodType): string {
  const { definition } = unwrap(schema)
  switch (definition.type) {
    case 'string':
      return 'text'
    case 'boolean':
      return 'true or false'
    case 'number':
      return 'number'
    case 'enum':
      return Object.values(definition.entries ?? {})
        .map((value) => JSON.stringify(value))
        .join(', ')
    case 'literal':
      return (definition.values ?? []).map((value) => JSON.stringify(value)).join(', ')
    case 'array':
      return `list of ${definition.element === undefined ? 'values' : typeInWords(definition.element)}`
    case 'union':
      return [...new Set((definition.options ?? []).map(typeInWords))].join(' or ')
    default:
      return 'table'
  }
}

/** Values that the discriminator of a union can have, e.g. the kinds of VCEK source. */
export function discriminatorValues(schema: z.core.$ZodType, discriminator: string): readonly string[] {
  const { definition } = unwrap(schema)
  const values = (definition.options ?? []).flatMap((option): readonly unknown[] => {
    if (unwrap(option).definition.type === 'union') return discriminatorValues(option, discriminator)
    const member = unwrap(option).definition.shape?.[discriminator]
    return member === undefined ? [] : (unwrap(member).definition.values ?? [])
  })
  return [...new Set(values.map(String))]
}
