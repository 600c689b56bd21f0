import { randomBytes } from 'node:crypto'
import type { Config, SharedDeps } from '@passport-kbs/service'
import { openSessionStore } from '@passport-kbs/storage'
import type { AttestDeps } from './deps.ts'
import { openAttestation } from './open-attestation.ts'
import { sealedSessions } from './sealed-sessions.ts'
import { openSealingKeys } from './sealing-keys.ts'

/** Guests give up after 60 s (spec 01 §9.1). */
const attestTimeoutMs = 45_000

/** Opens what KBS1 works with. `close` ends all of it. */
export async function openAttestDeps(
  config: Config,
  shared: SharedDeps,
): Promise<{ deps: AttestDeps; close: () => Promise<void> }> {
  const { attestationService } = config
  const store = await openSessionStore({ ...config.storage.sessions, maxSessions: config.maxSessions })
  const { attestation, sealing, close: closeAttestation } = await openAttestation(config, shared.logger)
  const now = () => new Date()
  const sessionLifetimeMs = attestationService.timeout * 60_000
  const keys = await openSealingKeys(sealing, { sessionLifetimeMs, now })
  const sessions = sealedSessions(store, { keys, now })
  const deps: AttestDeps = {
    ...shared,
    attestation,
    sessions,
    now,
    randomBytes,
    sessionLifetimeMs,
    attestTimeoutMs,
    teeKeys: { allowRsa15: config.teeKeys.allowRsa15, allowMlKem: config.teeKeys.allowMlKem },
    secureCookies: !config.httpServer.insecureHttp,
  }
  const close = async () => {
    await closeAttestation()
    await sessions.close()
  }
  return { deps, close }
}
