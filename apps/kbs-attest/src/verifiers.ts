import type { Tee } from '@passport-kbs/protocol'
import type { Config, Logger } from '@passport-kbs/service'
import {
  createSampleDeviceVerifier,
  createSampleVerifier,
  createTpmVerifier,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { amdVerifiers } from './verifiers/amd.ts'
import type { VerifierConfig } from './verifiers/config.ts'
import { openHygonVerifier } from './verifiers/hygon.ts'
import { openIntelVerifiers } from './verifiers/intel.ts'

/** The verifiers of a process, and what keeps their collateral fresh. */
export interface OpenVerifiers {
  readonly verifiers: ReadonlyMap<Tee, Verifier>
  close(): void
}

/** The verifiers that this configuration asks for. `sample` evidence exists in the development profile only. */
export async function openVerifiers(
  config: VerifierConfig,
  profile: Config['profile'],
  logger: Logger,
): Promise<OpenVerifiers> {
  const intel = await openIntelVerifiers(config, logger)
  const verifiers = [
    ...(await amdVerifiers(config, profile)),
    createTpmVerifier(),
    ...intel.verifiers,
    await openHygonVerifier(config, logger),
    ...(profile === 'development'
      ? [createSampleVerifier({ enabled: true }), createSampleDeviceVerifier({ enabled: true })]
      : []),
  ]
  return { verifiers: new Map(verifiers.map((verifier) => [verifier.tee, verifier])), close: intel.close }
}
