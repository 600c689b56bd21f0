import { mountKeys } from '@passport-kbs/app-kbs-attest'
import {
  type AppOptions,
  createServiceApp,
  errorHandler,
  mountOperation,
  type ServiceEnv,
} from '@passport-kbs/service'
import type { Hono } from 'hono'
import type { ApiDeps } from './deps.ts'
import { problemOfFailure } from './problems.ts'
import { mountAttestation } from './routes/attestation.ts'
import { mountChallenge } from './routes/challenge.ts'
import { mountPolicy } from './routes/policy.ts'

export type { ApiDeps } from './deps.ts'
export { attestationService } from './service.ts'

/** The RESTful half: evaluation, policies, keys, health (spec 02 §1.5). */
export function createApp(
  deps: ApiDeps,
  { httpServer, isDraining, operation }: AppOptions,
): Hono<ServiceEnv> {
  const { logger, metrics } = deps
  const app = createServiceApp({ httpServer, logger, metrics })
  app.onError((error, c) => errorHandler(problemOfFailure(error), c))
  mountKeys(app, deps, httpServer.publicUrl)
  const probes = { attestation: () => deps.attestation.ping() }
  mountOperation(app, { metrics, operation, probes, logger, isDraining })
  mountAttestation(app, deps)
  mountPolicy(app, deps)
  mountChallenge(app, deps)
  return app
}
