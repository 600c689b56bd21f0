import { createHash } from 'node:crypto'
import { InvalidPolicyId } from '@passport-kbs/attestation-service'
import { PolicyCompileError } from '@passport-kbs/policy'
import {
  JsonSyntaxError,
  MessageError,
  parseAttestationPolicyMessage,
  parseJson,
  problems,
} from '@passport-kbs/protocol'
import { authorizeAdmin, emptyAnswer, type KbsRequest, type KbsRoute } from '@passport-kbs/service'
import { attestationProblem } from '../attestation-problem.ts'
import type { AttestDeps } from '../deps.ts'

const verb = 'attestation-policy'

/** POST /kbs/v0/attestation-policy: sets one policy; one that does not compile is refused (spec 01 §1.2, spec 02 §1.7). */
export function attestationPolicyRoute(deps: AttestDeps): KbsRoute {
  return {
    name: verb,
    method: 'POST',
    async handle(request) {
      const admin = await authorizeAdmin(deps, request, verb, (refusal, cause) =>
        problems.adminRefused(verb, refusal, cause),
      )
      const { policyId, policy } = await readMessage(request)
      try {
        await deps.attestation.setPolicy(policyId, policy, admin.subject)
      } catch (cause) {
        if (cause instanceof PolicyCompileError || cause instanceof InvalidPolicyId)
          throw problems.attestationPolicyRefused(cause.message, cause)
        throw attestationProblem(cause)
      }
      const policySha384 = createHash('sha384').update(policy).digest('hex')
      deps.audit({ event: verb, decision: 'allowed', policyId, policySha384, ...admin })
      return emptyAnswer()
    },
  }
}

async function readMessage(request: KbsRequest) {
  const body = await request.body()
  try {
    return parseAttestationPolicyMessage(parseJson(body))
  } catch (cause) {
    if (cause instanceof JsonSyntaxError) throw problems.attestationPolicyRefused('not JSON', cause)
    if (cause instanceof MessageError) throw problems.attestationPolicyRefused(cause.message, cause)
    throw cause
  }
}
