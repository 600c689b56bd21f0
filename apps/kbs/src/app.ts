import { type AttestDeps, attestRoutes, mountKeys } from '@passport-kbs/app-kbs-attest'
import { informativeProbes, type ResourceDeps, resourceRoutes } from '@passport-kbs/app-kbs-resource'
import {
  type AppOptions,
  createServiceApp,
  mountKbsRoutes,
  mountOperation,
  type ServiceEnv,
} from '@passport-kbs/service'
import type { Hono } from 'hono'

export { kbs } from './service.ts'

export interface Halves {
  readonly attest: AttestDeps
  readonly resource: ResourceDeps
}

/** Background check: both halves behind one address; a guest's cookie session stands for its passport. */
export function createApp(
  { attest, resource }: Halves,
  { httpServer, isDraining, operation }: AppOptions,
): Hono<ServiceEnv> {
  const { logger, metrics } = attest
  const app = createServiceApp({ httpServer, logger, metrics })
  mountKeys(app, attest, httpServer.publicUrl)
  const probes = {
    // both halves have the same guard
    admin: () => attest.admin.ping(),
    attestation: () => attest.attestation.ping(),
    sessions: () => attest.sessions.ping(),
    passports: () => resource.passports.ping(),
    storage: () => resource.storage.ping(),
  }
  const informative = informativeProbes(resource)
  mountOperation(app, { metrics, operation, probes, informative, logger, isDraining })
  mountKbsRoutes(app, [...attestRoutes(attest), ...resourceRoutes(resource)])
  return app
}
