import {
  type AppOptions,
  createServiceApp,
  type KbsRoute,
  mountKbsRoutes,
  mountOperation,
  type ServiceEnv,
} from '@passport-kbs/service'
import type { Hono } from 'hono'
import type { AttestDeps } from './deps.ts'
import { attestRoute } from './routes/attest.ts'
import { attestationPolicyRoutes } from './routes/attestation-policy-workbench.ts'
import { authRoute } from './routes/auth.ts'
import { mountKeys } from './routes/keys.ts'
import { getReferenceValueRoute, setReferenceValuesRoute } from './routes/reference-value.ts'

export type { AttestDeps } from './deps.ts'
export { openBuiltInAttestation } from './open-attestation.ts'
export { openAttestDeps } from './open-deps.ts'
export { mountKeys } from './routes/keys.ts'
export { kbsAttest } from './service.ts'
export { sessionPassport } from './session-passport.ts'

/** KBS1's part of `/kbs/v0`. */
export function attestRoutes(deps: AttestDeps): KbsRoute[] {
  return [
    authRoute(deps),
    attestRoute(deps),
    ...attestationPolicyRoutes(deps),
    getReferenceValueRoute(deps),
    setReferenceValuesRoute(deps),
  ]
}

/** KBS1: verifies evidence, mints passports, publishes its keys. */
export function createApp(
  deps: AttestDeps,
  { httpServer, isDraining, operation }: AppOptions,
): Hono<ServiceEnv> {
  const { logger, metrics } = deps
  const app = createServiceApp({ httpServer, logger, metrics })
  mountKeys(app, deps, httpServer.publicUrl)
  const probes = {
    admin: () => deps.admin.ping(),
    attestation: () => deps.attestation.ping(),
    sessions: () => deps.sessions.ping(),
  }
  mountOperation(app, { metrics, operation, probes, logger, isDraining })
  mountKbsRoutes(app, attestRoutes(deps))
  return app
}
