import {
  type AttestationService,
  type BuiltInAttestationService,
  createAttestationService,
  type TokenSigner,
  type TokenSignerOptions,
} from '@passport-kbs/attestation-service'
import {
  type BuiltInAttestationConfig,
  builtInAttestation,
  type Config,
  type Logger,
} from '@passport-kbs/service'
import { openStorage } from '@passport-kbs/storage'
import { openIntelTrustAuthority } from './intel-trust-authority.ts'
import { openReferenceValueTrust } from './reference-value-trust.ts'
import { openRemoteAttestation } from './remote-attestation.ts'
import { openReferenceValueProvider } from './remote-reference-values.ts'
import { openVerifiers } from './verifiers.ts'

/** An attestation service, and what goes with it. */
export interface OpenAttestation {
  readonly attestation: AttestationService
  /** Makes the keys that sessions are sealed with. */
  readonly sealing: Pick<TokenSigner, 'deriveKey' | 'reload'>
  close(): Promise<void>
}

/** The service that `[attestation_service]` chooses. */
export async function openAttestation(config: Config, logger: Logger): Promise<OpenAttestation> {
  const { attestationService: settings } = config
  if (settings.type === 'coco_as_grpc') return await openRemoteAttestation(config, settings, logger)
  if (settings.type === 'intel_ta') return await openIntelTrustAuthority(config, settings, logger)
  const { attestation, close } = await openBuiltInAttestation(config, logger)
  return { attestation, sealing: attestation.signer, close }
}

/** The service that verifies in this process: stores, verifiers and signer as `[attestation_service]` says. */
export async function openBuiltInAttestation(
  config: Config,
  logger: Logger,
): Promise<{ readonly attestation: BuiltInAttestationService; close(): Promise<void> }> {
  const settings = builtInAttestation(config)
  const onNotice = (notice: string) => logger.warn(notice)
  const policies = await openStorage(config.storage.attestationPolicies, { onNotice })
  const referenceValues = await openStorage(config.storage.referenceValues, { onNotice })
  const provider = await openReferenceValueProvider(settings, logger)
  const open = await openVerifiers(settings.verifierConfig, config.profile, logger)
  const attestation = await createAttestationService({
    verifiers: open.verifiers,
    storage: policies,
    referenceValueStorage: referenceValues,
    referenceValues: provider,
    referenceValueTrust: await openReferenceValueTrust(settings.rvpsConfig),
    broker: { ...settings.attestationTokenBroker, signer: signerOptions(config, settings) },
    profile: config.profile,
    onPolicyLoaded: (policyId, policySha384) =>
      logger.info({ policyId, policySha384 }, 'attestation policy loaded'),
    onNotice: (notice, cause) => logger.warn(cause === undefined ? {} : { cause }, notice),
  })
  const close = async () => {
    open.close()
    provider?.close()
    await attestation.close()
    await Promise.all([policies, referenceValues].map((store) => store.close()))
  }
  return { attestation, close }
}

function signerOptions(
  { stateDir }: Config,
  { attestationTokenBroker: { signer } }: BuiltInAttestationConfig,
): TokenSignerOptions {
  return { ...signer, ...(stateDir === undefined ? {} : { stateDir }) }
}
