import { attestationPolicyBody, encodeBase64, encodeUtf8 } from '@passport-kbs/protocol'
import { type AdminOptions, sendAdminRequest } from '../admin-client.ts'
import { readText } from '../files.ts'
import type { Terminal } from '../terminal.ts'

export interface SetAttestationPolicyOptions extends AdminOptions {
  readonly policyFile: string
  /** Kept for `kbs-client`'s sake; servers ignore it. */
  readonly type: string
  readonly id: string
}

/** Replaces a policy by which evidence is appraised. */
export async function setAttestationPolicy(
  terminal: Terminal,
  options: SetAttestationPolicyOptions,
): Promise<void> {
  const policy = await readText(terminal, options.policyFile)
  const json = attestationPolicyBody({ policyId: options.id, policy }, options.type)
  await sendAdminRequest(terminal, options, { method: 'POST', path: 'attestation-policy', json })
  terminal.out(`Set attestation policy success \n policy: ${encodeBase64(encodeUtf8(policy))}`)
}
