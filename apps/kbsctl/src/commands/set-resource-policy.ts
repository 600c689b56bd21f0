import { presets } from '@passport-kbs/policy'
import { encodeBase64, encodeUtf8, resourcePolicyBody } from '@passport-kbs/protocol'
import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import { readText } from '../files.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface SetResourcePolicyOptions extends AdminOptions {
  readonly policyFile?: string
  readonly allowAll?: boolean
  readonly denyAll?: boolean
  readonly affirming?: boolean
  /** Trustee's default policy. `kbs-client` sends its deny-all policy here. */
  readonly default?: boolean
}

/** Replaces the policy by which resources are released. */
export async function setResourcePolicy(
  terminal: Terminal,
  options: SetResourcePolicyOptions,
): Promise<void> {
  const policy = await chosenPolicy(terminal, options)
  const json = resourcePolicyBody(policy)
  await sendAdminRequest(terminal, options, { method: 'POST', path: 'resource-policy', json })
  terminal.out(`Set resource policy success \n policy: ${encodeBase64(encodeUtf8(policy))}`)
}

async function chosenPolicy(terminal: Terminal, options: SetResourcePolicyOptions): Promise<string> {
  if (options.policyFile !== undefined) return await readText(terminal, options.policyFile)
  if (options.allowAll) return presets.allowAll
  if (options.denyAll) return presets.denyAll
  if (options.affirming) return presets.affirming
  if (options.default) return presets.trusteeDefault
  throw new CommandFailed('one of --policy-file, --allow-all, --deny-all, --affirming, --default is needed')
}
