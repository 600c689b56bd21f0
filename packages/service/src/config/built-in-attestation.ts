import type { BuiltInAttestationConfig, Config } from './config.ts'
import { ConfigError } from './config-error.ts'

/** The settings of a service that verifies in its own process. @throws ConfigError where another was chosen */
export function builtInAttestation({
  attestationService,
}: Pick<Config, 'attestationService'>): BuiltInAttestationConfig {
  if (attestationService.type === 'coco_as_builtin') return attestationService
  throw new ConfigError([
    {
      path: 'attestation_service.type',
      problem: `"${attestationService.type}" verifies elsewhere`,
      remedy: 'Use "coco_as_builtin"',
    },
  ])
}
