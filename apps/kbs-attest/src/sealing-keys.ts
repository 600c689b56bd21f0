import type { TokenSigner } from '@passport-kbs/attestation-service'

/** The keys that sessions are sealed with. */
export interface SealingKeys {
  /** What new seals are made with. */
  current(): Promise<Uint8Array>
  /** Whether `holds` for one of the keys that a live session may have been sealed with. */
  some(holds: (key: Uint8Array) => boolean): Promise<boolean>
}

const purpose = 'passport-kbs session seal 1'

/** Replicas notice a new key some seconds after each other. */
const graceMs = 60_000

/**
 * Keys derived from the token signing key: replicas and successors that have that key agree on them without further
 * configuration, and a key that ends with its process seals sessions of that process only. After a rotation the former
 * key still opens what it has sealed, for as long as a session lives.
 */
export async function openSealingKeys(
  signer: Pick<TokenSigner, 'deriveKey' | 'reload'>,
  { sessionLifetimeMs, now }: { readonly sessionLifetimeMs: number; readonly now: () => Date },
): Promise<SealingKeys> {
  let key = await signer.deriveKey(purpose)
  let former: readonly { readonly key: Uint8Array; readonly until: number }[] = []

  const current = async () => {
    const latest = await signer.deriveKey(purpose)
    const time = now().getTime()
    former = former.filter(({ until }) => until > time)
    if (Buffer.compare(latest, key) !== 0) {
      former = [{ key, until: time + sessionLifetimeMs + graceMs }, ...former]
      key = latest
    }
    return key
  }
  const known = async () => [await current(), ...former.map((each) => each.key)]

  return {
    current,
    some: async (holds) => {
      if ((await known()).some(holds)) return true
      // another replica may have a new key already; a file that cannot be read leaves the one in use
      const changed = await signer.reload().catch(() => false)
      return changed && (await known()).some(holds)
    },
  }
}
