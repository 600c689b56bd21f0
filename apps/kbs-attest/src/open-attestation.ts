import {
  type BuiltInAttestationService,
  createAttestationService,
  type TokenSignerOptions,
} from '@passport-kbs/attestation-service'
import type { Config, Logger } from '@passport-kbs/service'
import { openStorage } from '@passport-kbs/storage'
import { openVerifiers } from './verifiers.ts'

/** The service that verifies in this process: stores, verifiers and signer as `[attestation_service]` says. */
export async function openBuiltInAttestation(
  config: Config,
  logger: Logger,
): Promise<{ readonly attestation: BuiltInAttestationService; close(): Promise<void> }> {
  const { attestationService } = config
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
  const close = async () => {
    open.close()
    await attestation.close()
    await Promise.all([policies, referenceValues].map((store) => store.close()))
  }
  return { attestation, close }
}

function signerOptions({ attestationService, stateDir }: Config): TokenSignerOptions {
  const { signer } = attestationService.attestationTokenBroker
  return { ...signer, ...(stateDir === undefined ? {} : { stateDir }) }
}
