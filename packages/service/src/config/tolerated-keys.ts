import type { ConfigProblem } from './config-error.ts'
import { occurrences } from './occurrences.ts'

/** What to do with a key that Trustee, or an older Trustee, knows and we do not. */
interface ForeignKey {
  /** Path with `*` for a list index. */
  readonly path: string
  /** Says why the key has no effect here: it is taken out, with a warning. */
  readonly ignored?: string
  /** Says what to write instead: the key is refused. */
  readonly refused?: string
  /** The value for which it is harmless and only warned about; other values are refused. */
  readonly harmless?: unknown
}

/**
 * Keys of Trustee's present and former configurations without a meaning here. Whatever would make the service less
 * safe than the operator thinks is refused; the rest is accepted with a warning, so that Trustee's files load.
 */
export const foreignKeys: readonly ForeignKey[] = [
  {
    path: 'attestation_service.work_dir',
    ignored: 'nothing is kept there; see state_dir and storage_backend',
  },
  { path: 'attestation_service.policy_engine', ignored: 'the policy engine is built in' },
  { path: 'attestation_service.attestation_token_broker.type', ignored: 'tokens are always EAR' },
  {
    path: 'attestation_service.attestation_token_broker.policy_dir',
    ignored: 'policies are in storage; upload them',
  },
  { path: 'attestation_service.rvps_config.extractors', ignored: 'extractors are built in' },
  { path: 'attestation_service.verifier_config.tpm_verifier', ignored: 'this TEE has no verifier here' },
  { path: 'attestation_service.verifier_config.nvidia_verifier', ignored: 'this TEE has no verifier here' },
  {
    path: 'attestation_service.verifier_config.nvidia_dpu_verifier',
    ignored: 'this TEE has no verifier here',
  },
  {
    path: 'attestation_service.verifier_config.dcap_verifier.use_secure_cert',
    ignored: 'TLS is always verified',
    refused: 'TLS is always verified: remove it, and set "ca" for a PCCS with its own CA',
    harmless: true,
  },
  { path: 'attestation_token.attestation_token_type', ignored: 'the kind of token is recognised' },
  {
    path: 'attestation_token.insecure_key',
    ignored: 'this is the former name of insecure_header_jwk',
    refused: 'write insecure_header_jwk, with profile = "development"; or name trusted keys',
    harmless: false,
  },
  { path: 'policy_engine', ignored: 'the resource policy is in storage; upload it' },
  { path: 'admin.type', refused: 'write authorization_mode' },
  {
    path: 'admin.insecure_api',
    ignored: 'this is the former form of authorization_mode',
    refused: 'write authorization_mode = "InsecureAllowAll", with profile = "development"',
    harmless: false,
  },
  {
    path: 'admin.auth_public_key',
    refused:
      'write authorization_mode = "AuthenticatedAuthorization" with an identity provider that has public_key_uri',
  },
  { path: 'http_server.auth_public_key', refused: 'administrators are configured under [admin]' },
  { path: 'as_config', refused: 'the section is [attestation_service]' },
  {
    path: 'grpc_config',
    refused: 'the section is [attestation_service] with type = "coco_as_grpc"',
  },
  { path: 'repository_config', refused: 'the section is [[plugins]] with name = "resource"' },
]

/** Takes foreign keys out of `document`, in place; answers warnings and problems. */
export function removeForeignKeys(document: Record<string, unknown>): {
  readonly warnings: readonly string[]
  readonly problems: readonly ConfigProblem[]
} {
  const warnings: string[] = []
  const problems: ConfigProblem[] = []
  for (const key of foreignKeys) {
    for (const found of occurrences(document, key.path)) {
      const value = found.parent[found.name]
      Reflect.deleteProperty(found.parent, found.name)
      const acceptable = key.ignored !== undefined && (key.refused === undefined || value === key.harmless)
      if (acceptable) warnings.push(`${found.path} is ignored: ${key.ignored}`)
      else
        problems.push({
          path: found.path,
          problem: 'not a key of this server',
          remedy: sentence(key.refused ?? ''),
        })
    }
  }
  return { warnings, problems }
}

export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
