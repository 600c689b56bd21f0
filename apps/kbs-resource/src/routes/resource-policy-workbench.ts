import { checkForPurpose, PolicyCompileError } from '@passport-kbs/policy'
import { MessageError, parseResourcePolicyMessage, problems } from '@passport-kbs/protocol'
import { type KbsRoute, policyWorkbenchRoutes } from '@passport-kbs/service'
import type { ResourceDeps } from '../deps.ts'
import { resourcePolicyId, resourcePolicyKey } from '../resource-policy.ts'
import { setResourcePolicyRoute } from './resource-policy.ts'

/** GET and POST `/kbs/v0/resource-policy…`: Trustee's verbs, and what the workbench adds to them. */
export function resourcePolicyRoutes(deps: ResourceDeps): KbsRoute[] {
  const { policy } = deps
  const ours = async <T>(id: string, work: () => Promise<T>) =>
    id === resourcePolicyId ? await work() : undefined
  return policyWorkbenchRoutes({
    verb: 'resource-policy',
    deps,
    set: setResourcePolicyRoute(deps),
    archive: {
      ids: () => policy.list(),
      active: (id) => ours(id, () => policy.get()),
      versions: async (id) => (await ours(id, () => policy.versions())) ?? [],
      version: (id, sha384) => ours(id, () => policy.version(sha384)),
      rollBack: async (id, sha384, by) => (await ours(id, () => policy.rollBack(sha384, by))) ?? false,
    },
    readPolicy: (body) => {
      try {
        return parseResourcePolicyMessage(body)
      } catch (cause) {
        if (cause instanceof MessageError) throw problems.resourcePolicyMalformed(cause.message, cause)
        throw cause
      }
    },
    check: async (text) => checkForPurpose([{ file: resourcePolicyKey, text }], { purpose: 'resource' }),
    problem: (cause) =>
      cause instanceof PolicyCompileError ? problems.resourcePolicyRefused(cause.message, cause) : cause,
  })
}
