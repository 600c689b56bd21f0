import { type JsonValue, jsonObject, parseJson, sampleReferenceValueBody } from '@passport-kbs/protocol'
import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface SetSampleReferenceValueOptions extends AdminOptions {
  readonly asInteger?: boolean
  readonly asBool?: boolean
  /** The value itself instead of a list of one. */
  readonly asSingleValue?: boolean
}

/** Registers a reference value that nothing signs. */
export async function setSampleReferenceValue(
  terminal: Terminal,
  name: string,
  text: string,
  options: SetSampleReferenceValueOptions,
): Promise<void> {
  const value = typedValue(text, options)
  const json = sampleReferenceValueBody(jsonObject({ [name]: options.asSingleValue ? value : [value] }))
  await sendAdminRequest(terminal, options, { method: 'POST', path: 'reference-value', json })
  terminal.out('Reference Values Updated')
}

function typedValue(text: string, { asInteger, asBool }: SetSampleReferenceValueOptions): JsonValue {
  if (asInteger && asBool) throw new CommandFailed('--as-integer and --as-bool exclude each other')
  if (asInteger) {
    if (!/^-?(?:0|[1-9][0-9]{0,18})$/.test(text)) throw new CommandFailed('the value is not an integer')
    return parseJson(text)
  }
  if (asBool) {
    if (text !== 'true' && text !== 'false') throw new CommandFailed('the value is neither true nor false')
    return text === 'true'
  }
  return text
}
