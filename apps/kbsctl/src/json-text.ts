import { isJsonObject, type JsonValue, stringifyJson } from '@passport-kbs/protocol'

/** JSON for people: two blanks a level, all digits kept. */
export function indentedJson(value: JsonValue, indent = ''): string {
  const inner = `${indent}  `
  if (Array.isArray(value) && value.some((element) => typeof element === 'object' && element !== null)) {
    return `[\n${value.map((element) => inner + indentedJson(element, inner)).join(',\n')}\n${indent}]`
  }
  if (isJsonObject(value) && Object.keys(value).length > 0) {
    const members = Object.entries(value).map(
      ([name, member]) => `${inner}${JSON.stringify(name)}: ${indentedJson(member, inner)}`,
    )
    return `{\n${members.join(',\n')}\n${indent}}`
  }
  return stringifyJson(value)
}
