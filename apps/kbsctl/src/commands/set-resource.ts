import { encodeBase64 } from '@passport-kbs/protocol'
import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import { readBytes } from '../files.ts'
import type { Terminal } from '../terminal.ts'

export interface SetResourceOptions extends AdminOptions {
  /** `repository/type/tag`. */
  readonly path: string
  readonly resourceFile: string
}

/** Creates or replaces a resource. */
export async function setResource(terminal: Terminal, options: SetResourceOptions): Promise<void> {
  const bytes = await readBytes(terminal, options.resourceFile)
  await sendAdminRequest(terminal, options, { method: 'POST', path: `resource/${options.path}`, bytes })
  terminal.out(`Set resource success \n resource: ${encodeBase64(bytes)}`)
}
