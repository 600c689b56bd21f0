import type { UntypedServiceImplementation } from '@grpc/grpc-js'
import {
  type AttestationRequest,
  type AttestationResponse,
  type ChallengeRequest,
  type ChallengeResponse,
  type IndividualAttestationRequest,
  type ReferenceValueQueryRequest,
  type ReferenceValueQueryResponse,
  type ReferenceValueRegisterRequest,
  type SetPolicyRequest,
  serviceNames,
} from '@passport-kbs/attestation-service/remote'
import type { Scope } from '../callers.ts'
import type { ApiDeps } from '../deps.ts'
import { type IndividualRequest, parseJsonMember } from '../evaluation-request.ts'
import { type CallSlots, unary } from './unary.ts'

/** `attestation.AttestationService` (spec 02 §1.1). */
export function attestationMethods(deps: ApiDeps, slots: CallSlots): UntypedServiceImplementation {
  const { operations } = deps
  return {
    AttestationEvaluate: unary<AttestationRequest, AttestationResponse>(
      deps,
      slots,
      async (request, call) => ({
        attestation_token: await operations.evaluate(call, {
          requests: request.verification_requests.map(individualRequest),
          policyIds: request.policy_ids,
        }),
      }),
    ),
    SetAttestationPolicy: unary<SetPolicyRequest, object>(
      deps,
      slots,
      async ({ policy_id = '', policy = '' }, call) => {
        await operations.setPolicy(call, policy_id, policy)
        return {}
      },
    ),
    GetAttestationChallenge: unary<ChallengeRequest, ChallengeResponse>(deps, slots, async ({ inner }) => ({
      attestation_challenge: operations.challenge(inner),
    })),
  }
}

/** `reference.ReferenceValueProviderService` (spec 02 §1.2). An unknown id is an answer without result. */
export function referenceValueMethods(deps: ApiDeps, slots: CallSlots): UntypedServiceImplementation {
  const { operations } = deps
  return {
    QueryReferenceValue: unary<ReferenceValueQueryRequest, ReferenceValueQueryResponse>(
      deps,
      slots,
      async ({ reference_value_id = '' }, call) => {
        const text = await operations.queryReferenceValue(call, reference_value_id)
        return text === undefined ? {} : { reference_value_results: text }
      },
    ),
    RegisterReferenceValue: unary<ReferenceValueRegisterRequest, object>(
      deps,
      slots,
      async ({ message = '' }, call) => {
        await operations.registerReferenceValues(call, message)
        return {}
      },
    ),
  }
}

/** What a caller of each method must be allowed, by path. */
export const methodScopes: ReadonlyMap<string, Scope> = new Map([
  [`/${serviceNames.attestation}/AttestationEvaluate`, 'attest'],
  [`/${serviceNames.attestation}/GetAttestationChallenge`, 'attest'],
  [`/${serviceNames.attestation}/SetAttestationPolicy`, 'administer'],
  [`/${serviceNames.referenceValues}/QueryReferenceValue`, 'administer'],
  [`/${serviceNames.referenceValues}/RegisterReferenceValue`, 'administer'],
])

/** In proto3 an empty algorithm is one that was not sent. */
function individualRequest(request: IndividualAttestationRequest, index: number): IndividualRequest {
  const { structured_runtime_data: structured, runtime_data_hash_algorithm: hash } = request
  const path = `verification_requests[${index}].structured_runtime_data`
  return {
    tee: request.tee ?? '',
    evidence: request.evidence ?? '',
    rawRuntimeData: request.raw_runtime_data,
    structuredRuntimeData: structured === undefined ? undefined : parseJsonMember(structured, path),
    initDataDigest: request.init_data_digest,
    initDataToml: request.init_data_toml,
    hashAlgorithm: hash === '' ? undefined : hash,
  }
}
