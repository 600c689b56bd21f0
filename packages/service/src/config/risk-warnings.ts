import { isApiOnLoopback, isLoopback, onLoopback, referenceValueAddress } from './addresses.ts'
import type { Program } from './config.ts'
import type { RawConfig } from './schema.ts'

/** What works, but the operator should know. */
export function riskWarnings(
  program: Program,
  config: RawConfig,
  document: Record<string, unknown>,
): readonly string[] {
  const http = config.http_server
  const candidates: [boolean, string][] = [
    [
      config.profile === 'development',
      'profile is "development": unsafe settings are possible; never use it for real secrets',
    ],
    [
      http.insecure_http && !onLoopback(config),
      'http_server.insecure_http: tokens travel unencrypted; a proxy in front must end TLS',
    ],
    [
      config.admin.authorization_mode === 'InsecureAllowAll',
      'admin.authorization_mode is InsecureAllowAll: every local process is an administrator',
    ],
    [
      config.attestation_token.insecure_header_jwk,
      'attestation_token.insecure_header_jwk: anyone can make passports',
    ],
    [
      http.tls_profile !== 'custom' &&
        [http.tls_ciphers, http.tls_groups, http.tls_min_version, http.tls_max_version].some(
          (value) => value !== undefined,
        ),
      `http_server.tls_*: single settings override the profile "${http.tls_profile}"`,
    ],
    [
      program === 'kbs-resource' && 'attestation_service' in document,
      'attestation_service has no effect: kbs-resource only verifies passports',
    ],
    [
      program === 'kbs-attest' && 'plugins' in document,
      'plugins have no effect: kbs-attest serves no resources',
    ],
    [
      program === 'attestation-service' && ('plugins' in document || 'admin' in document),
      'plugins and admin have no effect: attestation-service knows the clients of attestation_api only',
    ],
    [
      program !== 'attestation-service' && 'attestation_api' in document,
      'attestation_api has no effect: it is for the program attestation-service',
    ],
    [
      program === 'attestation-service' &&
        !isApiOnLoopback(config) &&
        (config.attestation_api.anonymous ?? []).length > 0,
      'attestation_api.anonymous: whoever reaches the sockets may call; only a network policy keeps strangers out',
    ],
    [
      (program === 'kbs' || program === 'kbs-resource') && config.plugins.length === 0,
      'plugins is empty: no resource is served; add [[plugins]] with name = "resource"',
    ],
    [
      config.storage_backend.storage_type === 'Memory',
      'storage_backend.storage_type is Memory: policies and secrets are lost when the process ends',
    ],
    [
      program !== 'kbs-resource' &&
        config.attestation_service.type === 'coco_as_builtin' &&
        config.attestation_service.attestation_token_broker.signer?.key_path === undefined &&
        config.state_dir === undefined,
      'attestation_token_broker.signer: the signing key lasts as long as the process, and no replica knows another’s passports or sessions; set signer.key_path or state_dir',
    ],
    [
      program !== 'kbs-resource' && isPlainRemote(config.attestation_service),
      'attestation_service.as_addr: evidence, policies and tokens travel unencrypted to the attestation service',
    ],
    [
      program !== 'kbs-resource' && isPlainProvider(config.attestation_service),
      'attestation_service.rvps_config.address: reference values travel unprotected: whoever is on the way decides what is trusted',
    ],
    [
      program === 'kbs-attest' &&
        config.attestation_service.type === 'coco_as_grpc' &&
        config.attestation_service.jwk_set_uri === undefined,
      'attestation_service.jwk_set_uri: without it tokens are passed on unverified, and no keys are published here',
    ],
    [
      program !== 'kbs-resource' &&
        config.attestation_service.type === 'intel_ta' &&
        (config.attestation_service.policy_ids.length === 0 ||
          config.attestation_service.allow_unmatched_policy),
      'attestation_service.policy_ids: Intel demands no policy, so tokens are for any genuine guest; only the resource policy tells yours',
    ],
    [
      program !== 'kbs-resource' &&
        config.attestation_service.type === 'intel_ta' &&
        config.attestation_service.session_key_path === undefined &&
        config.state_dir === undefined,
      'attestation_service.session_key_path: sessions last as long as the process, and no replica knows another’s; set it, or state_dir',
    ],
    [
      (http.worker_count ?? 1) > 1,
      'http_server.worker_count: this process serves with one worker; run more replicas instead',
    ],
  ]
  return candidates.filter(([applies]) => applies).map(([, warning]) => warning)
}

function isPlainProvider(service: RawConfig['attestation_service']): boolean {
  if (service.type !== 'coco_as_builtin' || service.rvps_config.type !== 'GrpcRemote') return false
  const address = referenceValueAddress(service.rvps_config.address)
  if (!URL.canParse(address)) return false
  const { protocol, hostname } = new URL(address)
  return protocol === 'http:' && !isLoopback(hostname)
}

function isPlainRemote(service: RawConfig['attestation_service']): boolean {
  if (service.type !== 'coco_as_grpc' || !URL.canParse(service.as_addr)) return false
  const { protocol, hostname } = new URL(service.as_addr)
  return protocol === 'http:' && !isLoopback(hostname)
}
