import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { presets } from '@passport-kbs/policy'
import { type Config, createPassportVerifier, type OwnKeys, type SharedDeps } from '@passport-kbs/service'
import { createVersionHistory, openStorage } from '@passport-kbs/storage'
import type { ResourceDeps } from './deps.ts'
import { openSecrets } from './open-secrets.ts'
import { openResourcePolicy } from './resource-policy.ts'

/** How long another replica's policy may go unseen, in milliseconds. */
const policyMaxAgeMs = 1_000

const initialPolicies = {
  'deny-all': presets.denyAll,
  affirming: presets.affirming,
  'allow-all': presets.allowAll,
  'trustee-default': presets.trusteeDefault,
} as const

/** What KBS1 in the same process lends to KBS2. */
export interface OtherHalf {
  readonly ownKeys: OwnKeys
  readonly sessionPassport: NonNullable<ResourceDeps['sessionPassport']>
}

/** Opens what KBS2 works with. `close` ends all of it. */
export async function openResourceDeps(
  config: Config,
  shared: SharedDeps,
  otherHalf?: OtherHalf,
): Promise<{ deps: ResourceDeps; close: () => Promise<void> }> {
  const { logger } = shared
  const passports = await createPassportVerifier(config.attestationToken, {
    logger,
    profile: config.profile,
    ...(otherHalf ? { ownKeys: otherHalf.ownKeys } : {}),
  })
  const storage = await openStorage(config.storage.data, { onNotice: (notice) => logger.warn(notice) })
  const policy = await openResourcePolicy({
    store: storage.namespace('kbs'),
    initial: initialPolicies[config.policy.defaultPolicy],
    timeoutMs: config.policy.timeoutMs,
    maxAgeMs: policyMaxAgeMs,
    now: () => new Date(),
    clock: () => performance.now(),
    randomBytes,
    history: createVersionHistory(storage.namespace('policy_history'), { owner: 'resource' }),
    onLoaded: (policySha384) => logger.info({ policySha384 }, 'resource policy loaded'),
  })
  const secrets = await openSecrets(config, storage)
  const deps: ResourceDeps = {
    ...shared,
    passports,
    policy,
    storage,
    secrets: secrets?.backend,
    extraTeeKeyPaths: config.attestationToken.extraTeekeyPaths,
    teeKeys: { allowRsa15: config.teeKeys.allowRsa15, allowMlKem: config.teeKeys.allowMlKem },
    denyStatus: config.policy.denyStatus,
    ...(otherHalf ? { sessionPassport: otherHalf.sessionPassport } : {}),
  }
  const close = async () => {
    passports.close()
    await secrets?.close()
    await storage.close()
  }
  return { deps, close }
}
