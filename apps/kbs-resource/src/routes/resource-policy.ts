import { PolicyCompileError } from '@passport-kbs/policy'
import {
  JsonSyntaxError,
  MessageError,
  parseJson,
  parseResourcePolicyMessage,
  problems,
} from '@passport-kbs/protocol'
import { authorizeAdmin, emptyAnswer, type KbsRequest, type KbsRoute } from '@passport-kbs/service'
import type { ResourceDeps } from '../deps.ts'

const verb = 'resource-policy'

/** POST /kbs/v0/resource-policy: sets the policy; one that does not compile changes nothing (spec 01 §1.2). */
export function setResourcePolicyRoute(deps: ResourceDeps): KbsRoute {
  return {
    name: verb,
    method: 'POST',
    async handle(request) {
      const admin = await authorize(deps, request)
      const rego = await readRego(request)
      const policySha384 = await deps.policy.set(rego, admin.subject).catch((cause: unknown) => {
        if (cause instanceof PolicyCompileError) throw problems.resourcePolicyRefused(cause.message, cause)
        throw cause
      })
      deps.audit({ event: verb, decision: 'allowed', policySha384, ...admin })
      return emptyAnswer()
    },
  }
}

async function readRego(request: KbsRequest): Promise<string> {
  const body = await request.body()
  try {
    return parseResourcePolicyMessage(parseJson(body))
  } catch (cause) {
    if (cause instanceof JsonSyntaxError) throw problems.resourcePolicyMalformed('not JSON', cause)
    if (cause instanceof MessageError) throw problems.resourcePolicyMalformed(cause.message, cause)
    throw cause
  }
}

function authorize(deps: ResourceDeps, request: KbsRequest) {
  return authorizeAdmin(deps, request, verb, (refusal, cause) => problems.adminRefused(verb, refusal, cause))
}
