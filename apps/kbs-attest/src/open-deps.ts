import { randomBytes } from 'node:crypto'
import { createAttestationService, type TokenSignerOptions } from '@passport-kbs/attestation-service'
import {
  type BuiltInAttestationConfig,
  type Config,
  ConfigError,
  type SharedDeps,
} from '@passport-kbs/service'
import { openSessionStore, openStorage, type Storage } from '@passport-kbs/storage'
import type { AttestDeps } from './deps.ts'
import { openVerifiers } from './verifiers.ts'

/** Guests give up after 60 s (spec 01 §9.1). */
const attestTimeoutMs = 45_000

/** Opens what KBS1 works with. `close` ends all of it. */
export async function openAttestDeps(
  config: Config,
  shared: SharedDeps,
): Promise<{ deps: AttestDeps; close: () => Promise<void> }> {
  const builtIn = builtInAttestation(config)
  const { logger } = shared
  const sessions = await openSessionStore(config.storage.sessions)
  const policies = await openStorage(config.storage.attestationPolicies)
  const referenceValues = await openStorage(config.storage.referenceValues)
  const open = await openVerifiers(builtIn.verifierConfig, config.profile, logger)
  const attestation = await createAttestationService({
    verifiers: open.verifiers,
    storage: policies,
    referenceValueStorage: referenceValues,
    broker: { ...builtIn.attestationTokenBroker, signer: signerOptions(config, builtIn) },
    profile: config.profile,
    onNotice: (notice, cause) => logger.warn(cause === undefined ? {} : { cause }, notice),
  })
  const deps: AttestDeps = {
    ...shared,
    attestation,
    sessions,
    now: () => new Date(),
    randomBytes,
    sessionLifetimeMs: builtIn.timeout * 60_000,
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

function builtInAttestation(config: Config): BuiltInAttestationConfig {
  if (config.attestationService.type === 'coco_as_builtin') return config.attestationService
  throw new ConfigError([
    {
      path: 'attestation_service.type',
      problem: `"${config.attestationService.type}" is not available in this version`,
      remedy: 'Use "coco_as_builtin"',
    },
  ])
}

function signerOptions(
  config: Config,
  { attestationTokenBroker }: BuiltInAttestationConfig,
): TokenSignerOptions {
  const { stateDir } = config
  return { ...attestationTokenBroker.signer, ...(stateDir === undefined ? {} : { stateDir }) }
}
