import {
  type AppOptions,
  createServiceApp,
  type KbsRoute,
  mountKbsRoutes,
  mountOperation,
  type Probe,
  type ServiceEnv,
} from '@passport-kbs/service'
import type { Hono } from 'hono'
import type { ResourceDeps } from './deps.ts'
import { resourceRoute } from './routes/resource.ts'
import { resourcePolicyRoutes } from './routes/resource-policy-workbench.ts'

export type { ResourceDeps } from './deps.ts'
export { openResourceDeps } from './open-deps.ts'
export { openResourcePolicy, type ResourcePolicy } from './resource-policy.ts'
export { kbsResource } from './service.ts'

/** KBS2's part of `/kbs/v0`; a name that is not here is answered with 404. */
export function resourceRoutes(deps: ResourceDeps): KbsRoute[] {
  const policy = resourcePolicyRoutes(deps)
  return deps.secrets ? [resourceRoute(deps, deps.secrets), ...policy] : policy
}

/** Where secrets are fails for all replicas alike, and who asks for none does not need it. */
export function informativeProbes({ secrets }: ResourceDeps): Record<string, Probe> {
  return secrets === undefined ? {} : { secrets: () => secrets.ping() }
}

/** KBS2: verifies passports, releases secrets. */
export function createApp(
  deps: ResourceDeps,
  { httpServer, isDraining, operation }: AppOptions,
): Hono<ServiceEnv> {
  const { logger, metrics } = deps
  const app = createServiceApp({ httpServer, logger, metrics })
  const probes = {
    admin: () => deps.admin.ping(),
    passports: () => deps.passports.ping(),
    storage: () => deps.storage.ping(),
  }
  const informative = informativeProbes(deps)
  mountOperation(app, { metrics, operation, probes, informative, logger, isDraining })
  mountKbsRoutes(app, resourceRoutes(deps))
  return app
}
