import { jsonObject } from '@passport-kbs/protocol'
import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'
import { type PolicyChoice, policyPath } from './policy-get.ts'

export interface PolicyRollbackOptions extends AdminOptions, PolicyChoice {}

/** Sets an earlier version of a policy again. @param sha384 its hash, as `policy history` prints it. */
export async function policyRollback(
  terminal: Terminal,
  sha384: string,
  options: PolicyRollbackOptions,
): Promise<void> {
  if (!/^[0-9a-f]{96}$/.test(sha384)) throw new CommandFailed('a version is named by 96 hexadecimal digits')
  const path = `${policyPath(options)}/rollback`
  await sendAdminRequest(terminal, options, { method: 'POST', path, json: jsonObject({ sha384 }) })
  terminal.out(`in force: ${sha384}`)
}
