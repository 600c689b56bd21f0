import { randomBytes } from 'node:crypto'
import { createAttestationService, type TokenSignerOptions } from '@passport-kbs/attestation-service'
import type { Config, SharedDeps } from '@passport-kbs/service'
import { openSessionStore, openStorage, type Storage } from '@passport-kbs/storage'
import type { AttestDeps } from './deps.ts'
import { sealedSessions } from './sealed-sessions.ts'
import { openSealingKeys } from './sealing-keys.ts'
import { openVerifiers } from './verifiers.ts'

/** Guests give up after 60 s (spec 01 §9.1). */
const attestTimeoutMs = 45_000

/** Opens what KBS1 works with. `close` ends all of it. */
export async function openAttestDeps(
  config: Config,
  shared: SharedDeps,
): Promise<{ deps: AttestDeps; close: () => Promise<void> }> {
  const { attestationService } = config
  const { logger } = shared
  const store = await openSessionStore({ ...config.storage.sessions, maxSessions: config.maxSessions })
  const policies = await openStorage(config.storage.attestationPolicies)
  const referenceValues = await openStorage(config.storage.referenceValues)
  const open = await openVerifiers(attestationService.verifierConfig, config.profile, logger)
  const attestation = await createAttestationService({
    verifiers: open.verifiers,
    storage: policies,
    referenceValueStorage: referenceValues,
    broker: { ...attestationService.attestationTokenBroker, signer: signerOptions(config) },
    profile: config.profile,
    onPolicyLoaded: (policyId, policySha384) =>
      logger.info({ policyId, policySha384 }, 'attestation policy loaded'),
    onNotice: (notice, cause) => logger.warn(cause === undefined ? {} : { cause }, notice),
  })
  const now = () => new Date()
  const sessionLifetimeMs = attestationService.timeout * 60_000
  const keys = await openSealingKeys(attestation.signer, { sessionLifetimeMs, now })
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
    open.close()
    await attestation.close()
    await Promise.all(
      [sessions, policies, referenceValues].map((store: Pick<Storage, 'close'>) => store.close()),
    )
  }
  return { deps, close }
}

function signerOptions({ attestationService, stateDir }: Config): TokenSignerOptions {
  const { signer } = attestationService.attestationTokenBroker
  return { ...signer, ...(stateDir === undefined ? {} : { stateDir }) }
}
