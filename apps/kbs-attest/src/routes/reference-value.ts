import { ReferenceValueError } from '@passport-kbs/attestation-service'
import { type JsonValue, parseJson, problems, stringifyJson } from '@passport-kbs/protocol'
import { authorizeAdmin, jsonAnswer, type KbsRequest, type KbsRoute } from '@passport-kbs/service'
import { attestationProblem } from '../attestation-problem.ts'
import type { AttestDeps } from '../deps.ts'

const verb = 'reference-value'

/** GET /kbs/v0/reference-value/<id>: the stored value, while it has not expired. */
export function getReferenceValueRoute(deps: AttestDeps): KbsRoute {
  return {
    name: verb,
    method: 'GET',
    async handle(request) {
      const admin = await authorize(deps, request)
      const name = request.segments.slice(1).join('/')
      const value = await deps.attestation
        .queryReferenceValue(name, deps.now())
        .catch((error: unknown) => Promise.reject(attestationProblem(error)))
      if (value === undefined) throw problems.referenceValueNotFound()
      deps.audit({ event: `${verb}-read`, decision: 'allowed', referenceValues: [name], ...admin })
      return jsonAnswer(stringifyJson(value))
    },
  }
}

/** POST /kbs/v0/reference-value: registers all values of an RVPS message, or none (spec 01 §1.5). */
export function setReferenceValuesRoute(deps: AttestDeps): KbsRoute {
  return {
    name: verb,
    method: 'POST',
    async handle(request) {
      const admin = await authorize(deps, request)
      const envelope = await readJson(request)
      try {
        const names = await deps.attestation.registerReferenceValues(envelope, deps.now())
        deps.audit({ event: verb, decision: 'allowed', referenceValues: names, ...admin })
      } catch (cause) {
        if (cause instanceof ReferenceValueError) throw problems.referenceValueRefused(cause.message, cause)
        throw attestationProblem(cause)
      }
      return jsonAnswer('')
    },
  }
}

function authorize(deps: AttestDeps, request: KbsRequest) {
  return authorizeAdmin(deps, request, verb, (refusal, cause) => problems.adminRefused(verb, refusal, cause))
}

async function readJson(request: KbsRequest): Promise<JsonValue> {
  const body = await request.body()
  try {
    return parseJson(body)
  } catch (cause) {
    throw problems.referenceValueRefused('not JSON', cause)
  }
}
