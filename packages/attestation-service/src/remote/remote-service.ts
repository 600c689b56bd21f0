import { encodeBase64Url, encodeUtf8, isJsonObject, stringifyJson } from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import {
  AttestationRefused,
  type AttestationService,
  AttestationUnavailable,
  type EvaluationItem,
} from '../attestation-service.ts'
import { assertServing, type CallOptions, method, openCalls } from './calls.ts'
import {
  type AttestationRequest,
  type AttestationResponse,
  attestationServiceDefinition,
  type IndividualAttestationRequest,
  type SetPolicyRequest,
  serviceNames,
} from './proto.ts'
import { assertSignedBy, type RemoteKeys, readEvaluation } from './received-token.ts'
import { referenceValueCalls } from './reference-value-calls.ts'
import { remoteFailure } from './remote-failure.ts'

export interface RemoteAttestationOptions extends CallOptions {
  /** Policy that evidence is appraised with. */
  readonly policyId: string
  /** The service's public keys. With them no token is passed on that they do not verify, and they are published. */
  readonly keys?: RemoteKeys | undefined
  /** `iss` that tokens must have. */
  readonly issuer?: string | undefined
}

/** What Trustee's AS calls itself unless told otherwise. */
const usualIssuer = 'CoCo-Attestation-Service'

const methods = {
  evaluate: method<AttestationRequest, AttestationResponse>(
    attestationServiceDefinition,
    'AttestationEvaluate',
  ),
  setPolicy: method<SetPolicyRequest, object>(attestationServiceDefinition, 'SetAttestationPolicy'),
}

/**
 * An attestation service that runs elsewhere: one of ours, or a Confidential Containers AS (spec 01 §2.5, spec 02 §1).
 * Nothing is asked of it until the first call. It has no call to read policies, nor a supplemental challenge that
 * `/auth` could pass on: `se` is refused.
 */
export function createRemoteAttestationService(options: RemoteAttestationOptions): AttestationService {
  const { keys } = options
  const { ask, close } = openCalls(options)
  const referenceValues = referenceValueCalls(ask, 'the remote attestation service')

  return {
    issuer: options.issuer ?? usualIssuer,
    jwks: () => ({ keys: (keys?.keys() ?? []).map(published) }),
    async evaluate(items, { requestId, policyId = options.policyId }) {
      const request = { verification_requests: items.map(individualRequest), policy_ids: [policyId] }
      const { attestation_token: token = '' } = await ask(methods.evaluate, request, { requestId }).catch(
        refused,
      )
      if (keys !== undefined) await assertSignedBy(token, keys)
      return readEvaluation(token, nonceOf(items), options.issuer)
    },
    negotiate(tee) {
      if (tee === 'se')
        throw new EvidenceRejected(
          'TEE_NOT_ENABLED',
          'tee-enabled',
          'se needs a nonce that its verifier makes',
        )
      return { hash: 'sha384', announce: false }
    },
    async setPolicy(id, rego) {
      await ask(methods.setPolicy, { policy_id: id, policy: encodeBase64Url(encodeUtf8(rego)) }).catch(
        refused,
      )
    },
    getPolicy: () =>
      Promise.reject(new AttestationRefused('a remote attestation service does not show policies')),
    listPolicies: () =>
      Promise.reject(new AttestationRefused('a remote attestation service does not list policies')),
    registerReferenceValues: (envelope) => referenceValues.register(envelope),
    queryReferenceValue: (id) => referenceValues.query(id),
    async ping() {
      if (keys !== undefined && keys.keys().length === 0)
        throw new AttestationUnavailable('the keys of the remote attestation service are not at hand')
      await assertServing(ask, serviceNames.attestation, 'the remote attestation service')
    },
    close: async () => close(),
  }
}

function refused(error: unknown): never {
  throw remoteFailure(error)
}

function individualRequest(item: EvaluationItem): IndividualAttestationRequest {
  const { runtimeData, initData } = item
  return {
    tee: item.tee,
    evidence: encodeBase64Url(encodeUtf8(stringifyJson(item.evidence))),
    runtime_data_hash_algorithm: item.runtimeDataHash,
    ...(runtimeData?.kind === 'raw' ? { raw_runtime_data: encodeBase64Url(runtimeData.bytes) } : {}),
    ...(runtimeData?.kind === 'structured'
      ? { structured_runtime_data: stringifyJson(runtimeData.value) }
      : {}),
    ...(initData?.kind === 'digest' ? { init_data_digest: encodeBase64Url(initData.bytes) } : {}),
    ...(initData?.kind === 'toml' ? { init_data_toml: initData.text } : {}),
  }
}

/** The nonce that the primary evidence answers. */
function nonceOf([primary]: readonly EvaluationItem[]): string | undefined {
  const value = primary?.runtimeData?.kind === 'structured' ? primary.runtimeData.value : undefined
  return isJsonObject(value) && typeof value.nonce === 'string' ? value.nonce : undefined
}

/** As a relying party expects a key in a set; without `kid`, the thumbprint names it. */
function published({ kid, thumbprint, algorithms, key }: ReturnType<RemoteKeys['keys']>[number]) {
  return { ...key.export({ format: 'jwk' }), kid: kid ?? thumbprint, alg: algorithms[0], use: 'sig' }
}
