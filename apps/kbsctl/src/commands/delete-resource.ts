import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import type { Terminal } from '../terminal.ts'

export interface DeleteResourceOptions extends AdminOptions {
  /** `repository/type/tag`. */
  readonly path: string
}

/** Deletes a resource. */
export async function deleteResource(terminal: Terminal, options: DeleteResourceOptions): Promise<void> {
  await sendAdminRequest(terminal, options, { method: 'DELETE', path: `resource/${options.path}` })
  terminal.out(`Delete resource success \n resource: ${options.path}`)
}
