import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import type { Terminal } from '../terminal.ts'

export interface GetReferenceValueOptions extends AdminOptions {
  readonly id: string
  /** Prints the JSON itself. Without it, the JSON in quotes with escapes, as `kbs-client` does. */
  readonly raw?: boolean
}

/** Prints a reference value. */
export async function getReferenceValue(
  terminal: Terminal,
  options: GetReferenceValueOptions,
): Promise<void> {
  const path = `reference-value/${options.id}`
  const text = await sendAdminRequest(terminal, options, { method: 'GET', path })
  terminal.out(options.raw ? text : JSON.stringify(text))
}
