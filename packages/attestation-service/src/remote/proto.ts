import type { ServiceDefinition } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import protobuf from 'protobufjs'

/** `attestation.proto` (spec 02 §1.1). Field 2 of `IndividualAttestationRequest` was another layout's evidence. */
const attestationProto = `
syntax = "proto3";
package attestation;

message IndividualAttestationRequest {
  reserved 2;
  string tee = 1;
  string evidence = 3;
  oneof runtime_data {
    string raw_runtime_data = 4;
    string structured_runtime_data = 5;
  }
  oneof init_data {
    string init_data_digest = 6;
    string init_data_toml = 7;
  }
  string runtime_data_hash_algorithm = 8;
}
message AttestationRequest {
  repeated IndividualAttestationRequest verification_requests = 1;
  repeated string policy_ids = 2;
}
message AttestationResponse { string attestation_token = 1; }
message SetPolicyRequest {
  string policy_id = 1;
  string policy = 2;
}
message SetPolicyResponse {}
message ChallengeRequest { map<string, string> inner = 1; }
message ChallengeResponse { string attestation_challenge = 1; }

service AttestationService {
  rpc AttestationEvaluate(AttestationRequest) returns (AttestationResponse);
  rpc SetAttestationPolicy(SetPolicyRequest) returns (SetPolicyResponse);
  rpc GetAttestationChallenge(ChallengeRequest) returns (ChallengeResponse);
}
`

/** `reference.proto` (spec 02 §1.2): an absent result is an unknown id, an empty one is not. */
const referenceProto = `
syntax = "proto3";
package reference;

message ReferenceValueQueryRequest { string reference_value_id = 1; }
message ReferenceValueQueryResponse { optional string reference_value_results = 1; }
message ReferenceValueRegisterRequest { string message = 1; }
message ReferenceValueRegisterResponse {}

service ReferenceValueProviderService {
  rpc QueryReferenceValue(ReferenceValueQueryRequest) returns (ReferenceValueQueryResponse);
  rpc RegisterReferenceValue(ReferenceValueRegisterRequest) returns (ReferenceValueRegisterResponse);
}
`

/** The health checking protocol of gRPC (grpc.health.v1). */
const healthProto = `
syntax = "proto3";
package grpc.health.v1;

message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus {
    UNKNOWN = 0;
    SERVING = 1;
    NOT_SERVING = 2;
    SERVICE_UNKNOWN = 3;
  }
  ServingStatus status = 1;
}

service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}
`

/** A message as it is on the wire: what was not sent is absent. */
export interface IndividualAttestationRequest {
  readonly tee?: string
  /** base64url of the JSON text. */
  readonly evidence?: string
  readonly raw_runtime_data?: string
  readonly structured_runtime_data?: string
  readonly init_data_digest?: string
  readonly init_data_toml?: string
  readonly runtime_data_hash_algorithm?: string
}
export interface AttestationRequest {
  readonly verification_requests: readonly IndividualAttestationRequest[]
  readonly policy_ids: readonly string[]
}
export interface AttestationResponse {
  readonly attestation_token?: string
}
export interface SetPolicyRequest {
  readonly policy_id?: string
  /** base64url of the Rego text. */
  readonly policy?: string
}
export interface ChallengeRequest {
  readonly inner: Readonly<Record<string, string>>
}
export interface ChallengeResponse {
  readonly attestation_challenge?: string
}
export interface ReferenceValueQueryRequest {
  readonly reference_value_id?: string
}
export interface ReferenceValueQueryResponse {
  /** JSON text. */
  readonly reference_value_results?: string
}
export interface ReferenceValueRegisterRequest {
  readonly message?: string
}
export interface HealthCheckRequest {
  readonly service?: string
}
export interface HealthCheckResponse {
  readonly status?: ServingStatus
}
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

/** Full names of the services, as health checks ask for them. */
export const serviceNames = {
  attestation: 'attestation.AttestationService',
  referenceValues: 'reference.ReferenceValueProviderService',
} as const

/** Names of a failure in the trailers, beside gRPC's code and text; what other servers send has none of them. */
export const trailerNames = {
  /** Why evidence was rejected, or with `UNAVAILABLE` cannot be verified now: a code of `EvidenceRejected`. */
  rejection: 'attestation-rejection',
  /** Which check failed. */
  check: 'attestation-check',
  /** A UUID that the server's log has too. */
  requestId: 'x-request-id',
  /** gRPC's own: how long a client is to wait before it sends the call again; negative: that it is not to. */
  retryPushback: 'grpc-retry-pushback-ms',
} as const

const definitions = {
  ...load(attestationProto),
  ...load(referenceProto),
  ...load(healthProto),
}
export const attestationServiceDefinition = serviceDefinition(serviceNames.attestation)
export const referenceValueServiceDefinition = serviceDefinition(serviceNames.referenceValues)
export const healthServiceDefinition = serviceDefinition('grpc.health.v1.Health')

function load(text: string) {
  const { root } = protobuf.parse(text, { keepCase: true })
  // absent fields stay absent, but a list or a map is always there
  return fromJSON(root.toJSON(), { keepCase: true, enums: String, arrays: true, objects: true })
}

function serviceDefinition(name: string): ServiceDefinition {
  const definition = definitions[name]
  if (definition === undefined || 'format' in definition) throw new Error(`${name} is no service`)
  return definition
}

const mebibyte = 1_048_576
const grpcDefault = 4 * mebibyte

/**
 * Largest message in bytes where a KBS takes bodies of `payloadMib`: evidence grows by a third as base64url, and that of
 * devices is there a second time in the runtime data of the primary evidence. At least gRPC's default.
 */
export function messageLimit(payloadMib: number): number {
  return Math.max(grpcDefault, Math.ceil((3 * payloadMib + 1) * mebibyte))
}
