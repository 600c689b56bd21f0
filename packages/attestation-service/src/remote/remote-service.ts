import { Metadata, type MethodDefinition, type ServiceDefinition, status } from '@grpc/grpc-js'
import {
  encodeBase64Url,
  encodeUtf8,
  isJsonObject,
  type JsonValue,
  parseJson,
  stringifyJson,
} from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import {
  AttestationRefused,
  type AttestationService,
  AttestationUnavailable,
  type EvaluationItem,
  ReferenceValueError,
} from '../attestation-service.ts'
import { openConnections, type RemoteAddress } from './connections.ts'
import {
  type AttestationRequest,
  type AttestationResponse,
  attestationServiceDefinition,
  type HealthCheckRequest,
  type HealthCheckResponse,
  healthServiceDefinition,
  type IndividualAttestationRequest,
  type ReferenceValueQueryRequest,
  type ReferenceValueQueryResponse,
  type ReferenceValueRegisterRequest,
  referenceValueServiceDefinition,
  type SetPolicyRequest,
  serviceNames,
  trailerNames,
} from './proto.ts'
import { assertSignedBy, type RemoteKeys, readEvaluation } from './received-token.ts'
import { remoteFailure } from './remote-failure.ts'
import type { TokenFile } from './token-file.ts'

export interface RemoteAttestationOptions extends RemoteAddress {
  /** Sent as bearer token. */
  readonly token?: TokenFile | undefined
  /** Most connections at once. */
  readonly maxConnections: number
  /** How long a call may take, in milliseconds; guests give up after 60 s. */
  readonly requestTimeoutMs: number
  /** Largest answer, in bytes. */
  readonly messageLimit: number
  /** Policy that evidence is appraised with. */
  readonly policyId: string
  /** The service's public keys. With them no token is passed on that they do not verify, and they are published. */
  readonly keys?: RemoteKeys | undefined
  /** `iss` that tokens must have. */
  readonly issuer?: string | undefined
}

/** What Trustee's AS calls itself unless told otherwise. */
const usualIssuer = 'CoCo-Attestation-Service'
const healthTimeoutMs = 1_500

const methods = {
  evaluate: method<AttestationRequest, AttestationResponse>(
    attestationServiceDefinition,
    'AttestationEvaluate',
  ),
  setPolicy: method<SetPolicyRequest, object>(attestationServiceDefinition, 'SetAttestationPolicy'),
  register: method<ReferenceValueRegisterRequest, object>(
    referenceValueServiceDefinition,
    'RegisterReferenceValue',
  ),
  query: method<ReferenceValueQueryRequest, ReferenceValueQueryResponse>(
    referenceValueServiceDefinition,
    'QueryReferenceValue',
  ),
  health: method<HealthCheckRequest, HealthCheckResponse>(healthServiceDefinition, 'Check'),
}

/**
 * An attestation service that runs elsewhere: one of ours, or a Confidential Containers AS (spec 01 §2.5, spec 02 §1).
 * Nothing is asked of it until the first call. It has no call to read policies, nor a supplemental challenge that
 * `/auth` could pass on: `se` is refused.
 */
export function createRemoteAttestationService(options: RemoteAttestationOptions): AttestationService {
  const { keys, requestTimeoutMs } = options
  const connections = openConnections(options, options)

  const ask = async <Request, Response>(
    called: MethodDefinition<Request, Response>,
    request: Request,
    { requestId, timeoutMs = requestTimeoutMs }: { requestId?: string; timeoutMs?: number } = {},
  ): Promise<Response> => {
    const metadata = new Metadata()
    if (requestId !== undefined) metadata.set(trailerNames.requestId, requestId)
    if (options.token !== undefined) metadata.set('authorization', `Bearer ${await options.token.token()}`)
    return await connections.call(called, request, { metadata, deadline: Date.now() + timeoutMs })
  }

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
    async registerReferenceValues(envelope) {
      await ask(methods.register, { message: stringifyJson(envelope) }).catch(refusedValues)
      return namesIn(envelope)
    },
    async queryReferenceValue(id) {
      const answer = await ask(methods.query, { reference_value_id: id }).catch(refusedValues)
      const text = answer.reference_value_results
      return text === undefined ? undefined : parseValue(text)
    },
    async ping() {
      if (keys !== undefined && keys.keys().length === 0)
        throw new AttestationUnavailable('the keys of the remote attestation service are not at hand')
      const timeoutMs = Math.min(healthTimeoutMs, requestTimeoutMs)
      const answer = await ask(methods.health, { service: serviceNames.attestation }, { timeoutMs }).catch(
        (error: unknown) => {
          // a server without health service that answers is as much as can be known
          if (Reflect.get(Object(error), 'code') === status.UNIMPLEMENTED) return { status: 'SERVING' }
          throw remoteFailure(error)
        },
      )
      if (answer.status !== 'SERVING')
        throw new AttestationUnavailable('the remote attestation service is not serving')
    },
    close: async () => connections.close(),
  }
}

function refused(error: unknown): never {
  throw remoteFailure(error)
}

function refusedValues(error: unknown): never {
  const failure = remoteFailure(error)
  if (failure instanceof AttestationRefused) throw new ReferenceValueError(failure.message, { cause: error })
  throw failure
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

/** For the audit trail; other envelopes than `sample` are read by the remote service only. */
function namesIn(envelope: JsonValue): readonly string[] {
  const payload = isJsonObject(envelope) && envelope.type === 'sample' ? envelope.payload : undefined
  if (typeof payload !== 'string') return []
  const values = parseValue(Buffer.from(payload, 'base64').toString())
  return isJsonObject(values) ? Object.keys(values) : []
}

function parseValue(text: string): JsonValue {
  try {
    return parseJson(text)
  } catch (cause) {
    throw new AttestationUnavailable('the remote attestation service answers what is not JSON', { cause })
  }
}

/** As a relying party expects a key in a set; without `kid`, the thumbprint names it. */
function published({ kid, thumbprint, algorithms, key }: ReturnType<RemoteKeys['keys']>[number]) {
  return { ...key.export({ format: 'jwk' }), kid: kid ?? thumbprint, alg: algorithms[0], use: 'sig' }
}

function method<Request, Response>(
  definition: ServiceDefinition,
  name: string,
): MethodDefinition<Request, Response> {
  const found = definition[name]
  if (found === undefined) throw new Error(`there is no method ${name}`)
  return found as MethodDefinition<Request, Response>
}
