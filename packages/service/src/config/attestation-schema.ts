import { z } from 'zod'
import { intelTrustAuthorityKeys } from './intel-ta-schema.ts'
import { count, filePath, isPlainObject, milliseconds, storageType, webAddress } from './schema-values.ts'
import { verifierConfigSchema } from './verifier-schema.ts'

const tokenBrokerSchema = z.strictObject({
  duration_min: count(1, 10_080).default(5).describe('Lifetime of a passport, in minutes.'),
  issuer_name: z
    .string()
    .min(1)
    .max(1024)
    .default('CoCo-Attestation-Service')
    .describe('`iss` of a passport.'),
  developer_name: z
    .string()
    .max(1024)
    .default('https://confidentialcontainers.org')
    .describe('Developer, in `ear.verifier-id`.'),
  build_name: z
    .string()
    .max(1024)
    .default('attestation-service 0.1.0')
    .describe('Build, in `ear.verifier-id`.'),
  profile_name: z
    .string()
    .max(1024)
    .default('tag:github.com,2024:confidential-containers/Trustee')
    .describe('`eat_profile` of a passport.'),
  verbose_token: z
    .boolean()
    .default(true)
    .describe('Whether the evidence of additional devices is repeated in the passport.'),
  audience: z
    .union([z.string().min(1).max(1024), z.array(z.string().min(1).max(1024)).min(1).max(32)])
    .optional()
    .describe('Ours: `aud` of a passport: who it is for.'),
  signer: z
    .strictObject({
      key_path: filePath().optional().describe('PEM file with the P-256 signing key.'),
      cert_path: filePath()
        .optional()
        .describe('PEM file with the certificate chain of that key, leaf first.'),
      cert_url: webAddress().optional().describe('Address of that chain, for `x5u`.'),
    })
    .refine((signer) => signer.key_path !== undefined || signer.cert_path === undefined, {
      message: 'cert_path needs key_path: a certificate is for one key',
    })
    .optional()
    .describe('Signing key. Absent: a key is made, and kept in `state_dir` if there is one.'),
})

const builtInReferenceValues = z
  .strictObject({
    type: z.literal('BuiltIn').default('BuiltIn').describe('Reference values are kept by this process.'),
    storage_type: storageType()
      .optional()
      .describe('Where reference values are kept; default as `storage_backend`.'),
    trusted_keys: z
      .array(filePath())
      .max(32)
      .default([])
      .describe(
        'Ours: PEM files with the public keys (P-256, P-384, Ed25519) that may sign reference values.',
      ),
    require_signed: z
      .boolean()
      .default(false)
      .describe('Ours: refuse reference values that none of `trusted_keys` has signed.'),
  })
  .refine((rvps) => !rvps.require_signed || rvps.trusted_keys.length > 0, {
    message: 'require_signed needs trusted_keys',
  })

/** How a gRPC server is known, and what is shown to it. */
const grpcCredentials = () => ({
  ca: filePath()
    .optional()
    .describe('Ours: PEM file with the CA of an https address, instead of the system’s.'),
  client_certificate: filePath()
    .optional()
    .describe('Ours: PEM file with the certificate chain that is shown to it.'),
  client_key: filePath().optional().describe('Ours: PEM file with the key of `client_certificate`.'),
  token_file: filePath()
    .optional()
    .describe('Ours: file with the bearer token that is shown to it; read again when it changes.'),
})

const remoteReferenceValues = z.strictObject({
  type: z.literal('GrpcRemote').describe('Reference values are kept by a provider that runs elsewhere.'),
  address: z
    .string()
    .min(1)
    .max(2048)
    .default('127.0.0.1:50003')
    .describe('Its address: `host:port`, which is `http://`, or with scheme, `https://` for TLS.'),
  ...grpcCredentials(),
  request_timeout_ms: milliseconds(100, 30_000).default(5_000).describe('Ours: time limit of a call.'),
  cache_ms: milliseconds(0, 3_600_000)
    .default(1_000)
    .describe('Ours: how long an answer serves for other evaluations; 0: not at all.'),
})

const rvpsSchema = z.discriminatedUnion('type', [builtInReferenceValues, remoteReferenceValues])

const sessionLifetime = () => z.int().min(1).max(1_440).default(5).describe('Session lifetime, in minutes.')

const builtInAttestation = z.strictObject({
  type: z.literal('coco_as_builtin').describe('Evidence is verified in this process.'),
  timeout: sessionLifetime(),
  storage_type: storageType()
    .optional()
    .describe('Where attestation policies are kept; default as `storage_backend`.'),
  rvps_config: rvpsSchema.prefault({}).describe('Reference values.'),
  attestation_token_broker: tokenBrokerSchema.prefault({}).describe('What passports say and who signs them.'),
  verifier_config: verifierConfigSchema.prefault({}).describe('Verifiers, TEE by TEE.'),
})

const grpcAttestation = z.strictObject({
  type: z
    .literal('coco_as_grpc')
    .describe('Evidence is verified by a remote attestation service: a Confidential Containers AS, or ours.'),
  timeout: sessionLifetime(),
  as_addr: webAddress()
    .default('http://127.0.0.1:50004')
    .describe('Address of the gRPC services, `http://` or `https://`.'),
  pool_size: count(1, 10_000).default(100).describe('Most connections to it; one carries 50 calls at once.'),
  ...grpcCredentials(),
  request_timeout_ms: milliseconds(100, 44_000)
    .default(40_000)
    .describe('Ours: time limit of a call. Guests give up after 60 s, `/attest` after 45 s.'),
  policy_id: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,100}$/, 'must be letters, digits, dots, dashes and underscores')
    .default('default')
    .describe('Ours: attestation policy, without the class that its stored name ends with.'),
  jwk_set_uri: webAddress()
    .optional()
    .describe(
      'Ours: its JWK set: path, `file://` or `https://`. Tokens are verified with it before they are passed on, and it is published here.',
    ),
  issuer: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('Ours: `iss` that its tokens must have. `kbs` expects `CoCo-Attestation-Service` without it.'),
  session_key_path: filePath()
    .optional()
    .describe(
      'Ours: PEM file with a P-256 key that sessions are sealed with; replicas need the same. Absent: one is made, and kept in `state_dir` if there is one.',
    ),
})

const intelTrustAuthority = z.strictObject({ ...intelTrustAuthorityKeys, timeout: sessionLifetime() })

const attestationTypeAliases: Record<string, string> = {
  CoCoASBuiltIn: 'coco_as_builtin',
  CoCoASGrpc: 'coco_as_grpc',
  IntelTA: 'intel_ta',
}

export const attestationServiceSchema = z.preprocess(
  (value) => {
    if (!isPlainObject(value)) return value
    const type = value.type ?? 'coco_as_builtin'
    return { ...value, type: typeof type === 'string' ? (attestationTypeAliases[type] ?? type) : type }
  },
  z.discriminatedUnion('type', [builtInAttestation, grpcAttestation, intelTrustAuthority]),
)
