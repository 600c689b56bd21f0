import { InvalidPolicyId } from '@passport-kbs/attestation-service'
import {
  checkForPurpose,
  compileOptionsFor,
  compilePolicy,
  type Finding,
  PolicyCompileError,
  QUERY_REFERENCE_VALUE,
} from '@passport-kbs/policy'
import { MessageError, parseResourcePolicyMessage, problems } from '@passport-kbs/protocol'
import { type KbsRoute, policyWorkbenchRoutes } from '@passport-kbs/service'
import { attestationProblem } from '../attestation-problem.ts'
import type { AttestDeps } from '../deps.ts'
import { attestationPolicyRoute } from './attestation-policy.ts'

/** GET and POST `/kbs/v0/attestation-policy…`: Trustee's verb, and what the workbench adds to it. */
export function attestationPolicyRoutes(deps: AttestDeps): KbsRoute[] {
  const { attestation } = deps
  const versions = attestation.policyVersions
  return policyWorkbenchRoutes({
    verb: 'attestation-policy',
    deps,
    set: attestationPolicyRoute(deps),
    archive: {
      active: (id) => attestation.getPolicy(id),
      versions: async (id) => (await versions?.list(id)) ?? [],
      version: async (id, sha384) => await versions?.read(id, sha384),
      rollBack: async (id, sha384, by) => (await versions?.rollBack(id, sha384, by)) ?? false,
    },
    readPolicy: (body) => {
      try {
        // an id may stand beside it; a check does not need one
        return parseResourcePolicyMessage(body)
      } catch (cause) {
        if (cause instanceof MessageError) throw problems.attestationPolicyRefused(cause.message, cause)
        throw cause
      }
    },
    check: (text) => check(deps, text),
    problem: (cause) => {
      if (cause instanceof InvalidPolicyId) return problems.notFound()
      if (cause instanceof PolicyCompileError) return problems.attestationPolicyRefused(cause.message, cause)
      return attestationProblem(cause)
    },
  })
}

/** With the names of the reference values that this service does not have. */
async function check({ attestation, now }: AttestDeps, text: string): Promise<readonly Finding[]> {
  const sources = [{ file: 'policy.rego', text }]
  const found = checkForPurpose(sources, { purpose: 'attestation' })
  if (found.some(({ severity }) => severity === 'error')) return found
  const at = now()
  const known = await Promise.all(
    namesAsked(text).map(async (name) =>
      (await attestation.queryReferenceValue(name, at)) === undefined ? [] : [name],
    ),
  )
  return checkForPurpose(sources, { purpose: 'attestation', referenceValues: new Set(known.flat()) })
}

function namesAsked(text: string): readonly string[] {
  const policy = compilePolicy([{ file: 'policy.rego', text }], compileOptionsFor('attestation'))
  const names = policy
    .externalCalls()
    .flatMap(({ name, args: [id] }) =>
      name === QUERY_REFERENCE_VALUE.name && typeof id === 'string' ? [id] : [],
    )
  return [...new Set(names)]
}
