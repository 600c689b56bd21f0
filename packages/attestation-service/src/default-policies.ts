import { createHash } from 'node:crypto'
import { encodeUtf8 } from '@passport-kbs/protocol'
import type { KeyValueStore } from '@passport-kbs/storage'
import { defaultPolicyTexts } from './default-policy-texts.ts'

/** The attestation policies that ship with this version, by id. */
export const defaultPolicies: ReadonlyMap<string, string> = new Map(Object.entries(defaultPolicyTexts))

/**
 * SHA-384 of the texts that earlier versions shipped, by id: add the old one here when a default changes. A stored
 * policy with one of these hashes was never edited and should be replaced.
 */
const supersededDefaults: ReadonlyMap<string, readonly string[]> = new Map()

/** What became of one shipped policy at start. */
export interface DefaultPolicyState {
  readonly id: string
  /** `outdated`: stored as an earlier version shipped it. `edited`: stored with a text that never shipped. */
  readonly state: 'installed' | 'current' | 'outdated' | 'edited'
}

/**
 * Stores each shipped policy that the store does not have; never replaces one. The answer lets the operator know which
 * stored ones are not what this version ships (spec 02 W-24).
 */
export async function installDefaultPolicies(
  store: KeyValueStore,
  superseded: ReadonlyMap<string, readonly string[]> = supersededDefaults,
): Promise<readonly DefaultPolicyState[]> {
  const states = [...defaultPolicies].map(async ([id, text]): Promise<DefaultPolicyState> => {
    const key = policyKey(id)
    if (await store.set(key, encodeUtf8(text), { ifAbsent: true })) return { id, state: 'installed' }
    const stored = await store.get(key)
    const hash = createHash('sha384')
      .update(stored ?? '')
      .digest('hex')
    if (hash === createHash('sha384').update(text).digest('hex')) return { id, state: 'current' }
    return { id, state: superseded.get(id)?.includes(hash) ? 'outdated' : 'edited' }
  })
  return await Promise.all(states)
}

const suffix = '.rego'

/** The key of a policy in namespace `attestation_service_policy`, as Trustee has it (spec 02 §1.7). */
export function policyKey(id: string): string {
  return id + suffix
}

/** The id of a stored policy; undefined for a key that is not one of a policy. */
export function policyIdOf(key: string): string | undefined {
  return key.endsWith(suffix) ? key.slice(0, -suffix.length) : undefined
}
