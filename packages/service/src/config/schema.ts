import {
  DEFAULT_MAX_SESSIONS,
  encryptionSectionSchema,
  localFsSectionSchema,
  localJsonSectionSchema,
  postgresSectionSchema,
  redisSectionSchema,
} from '@passport-kbs/storage'
import { z } from 'zod'
import { intelTrustAuthorityKeys } from './intel-ta-schema.ts'
import { pluginSchema } from './plugin-schema.ts'
import { amdRiskSchema, hygonRiskSchema, intelRiskSchema } from './risk-schema.ts'

/**
 * The configuration file, key by key (spec 01 §7, §10). Keys, values and defaults are Trustee's unless the description
 * begins with "Ours:". Every object is strict: a key that is not written here is refused, except those listed in
 * `tolerated-keys.ts`. The reference in `docs/configuration.md` is made from these descriptions.
 */

/** Accepts other spellings of an enumerated value, as Trustee's aliases do. */
const spelled = <const T extends readonly [string, ...string[]]>(
  values: T,
  aliases: Record<string, T[number]>,
) =>
  z.preprocess(
    (value) => (typeof value === 'string' && Object.hasOwn(aliases, value) ? aliases[value] : value),
    z.enum(values),
  )

const filePath = () => z.string().min(1).max(4096)
const webAddress = () => z.string().min(1).max(2048)
const count = (minimum: number, maximum: number) => z.int().min(minimum).max(maximum)
const milliseconds = (minimum: number, maximum: number) => z.int().min(minimum).max(maximum)

const storageType = () =>
  spelled(['Memory', 'LocalFs', 'Redis', 'Postgres', 'LocalJson'], {
    memory: 'Memory',
    local_fs: 'LocalFs',
    redis: 'Redis',
    postgres: 'Postgres',
    local_json: 'LocalJson',
  })

const rateLimit = (perSecond: number, burst: number) =>
  z
    .strictObject({
      per_second: z
        .number()
        .min(0)
        .max(1_000_000)
        .default(perSecond)
        .describe('Requests a second that one client may sustain; 0 switches the limit off.'),
      burst: count(1, 10_000_000).default(burst).describe('Requests that one client may send at once.'),
    })
    .prefault({})

const sockets = () =>
  z
    .array(
      z
        .string()
        .regex(
          /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]|localhost):\d{1,5}$/,
          'must be ip:port, e.g. "0.0.0.0:8080" or "[::]:8080"',
        ),
    )
    .min(1)
    .max(16)

export const httpServerSchema = z.strictObject({
  sockets: sockets().default(['127.0.0.1:8080']).describe('Addresses to listen on, each `ip:port`.'),
  insecure_http: z
    .boolean()
    .default(false)
    .describe('Plain HTTP. For loopback, or behind a proxy that ends TLS.'),
  private_key: filePath()
    .optional()
    .describe('PEM file with the TLS private key. Required unless `insecure_http`.'),
  certificate: filePath()
    .optional()
    .describe('PEM file with the TLS certificate chain, leaf first. Required unless `insecure_http`.'),
  payload_request_size: z
    .number()
    .positive()
    .max(64)
    .default(2)
    .describe('Largest request body, in MiB (1 MiB = 1048576 bytes).'),
  worker_count: count(1, 256)
    .optional()
    .describe(
      'Accepted for Trustee’s sake: a process serves with one worker. Run replicas to use more processors.',
    ),
  tls_profile: z
    .enum(['old', 'intermediate', 'modern', 'custom'])
    .default('intermediate')
    .describe('TLS versions and ciphers: `modern` is TLS 1.3 only, the others TLS 1.2 and 1.3.'),
  tls_min_version: z
    .enum(['1.2', '1.3'])
    .optional()
    .describe('Overrides the lowest TLS version of the profile.'),
  tls_max_version: z
    .enum(['1.2', '1.3'])
    .optional()
    .describe('Overrides the highest TLS version of the profile.'),
  tls_ciphers: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe(
      'Overrides the ciphers of the profile (OpenSSL list; names of TLS 1.3 suites may be included).',
    ),
  tls_groups: z
    .union([z.string().min(1).max(1024), z.array(z.string().min(1).max(64)).min(1).max(32)])
    .optional()
    .describe(
      'Key-exchange groups, best first. Default: the ML-KEM hybrids that OpenSSL has, then X25519, P-256 and P-384.',
    ),
  public_url: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .optional()
    .describe(
      'Ours: address at which relying parties reach this server, where a proxy ends TLS; the OpenID discovery names it.',
    ),
  max_header_bytes: count(131_072, 1_048_576)
    .default(131_072)
    .describe('Ours: largest request head, in bytes. Passports with device evidence need 128 KiB.'),
  header_timeout_ms: milliseconds(100, 300_000)
    .default(10_000)
    .describe('Ours: time in which a client must have sent the whole request head.'),
  request_timeout_ms: milliseconds(100, 600_000)
    .default(30_000)
    .describe('Ours: time in which a client must have sent the whole request, body included.'),
  keep_alive_timeout_ms: milliseconds(100, 600_000)
    .default(5_000)
    .describe('Ours: idle time after which a kept connection is closed.'),
  max_connections: count(1, 1_000_000)
    .default(10_000)
    .describe('Ours: connections open at once, per socket.'),
  max_connections_per_client: count(1, 1_000_000)
    .default(1_000)
    .describe('Ours: connections open at once from one address.'),
  max_concurrent_requests: count(1, 1_000_000)
    .default(1_000)
    .describe('Ours: requests in work at once; beyond that the answer is 503 with `Retry-After`.'),
  drain_timeout_ms: milliseconds(0, 600_000)
    .default(20_000)
    .describe('Ours: time that requests in work get to finish when the process is told to stop.'),
  trusted_proxies: z
    .array(z.string().min(1).max(64))
    .max(256)
    .default([])
    .describe('Ours: addresses or networks (CIDR) whose `X-Forwarded-For` and `X-Request-Id` are believed.'),
  rate_limits: z
    .strictObject({
      auth: rateLimit(100, 500).describe('Ours: `/auth`, which anyone may call.'),
      attest: rateLimit(100, 500).describe('Ours: `/attest`.'),
      resource: rateLimit(0, 1_000).describe('Ours: resources and other plugins.'),
      admin: rateLimit(20, 100).describe('Ours: everything that needs an administrator.'),
      max_clients: count(16, 10_000_000)
        .default(50_000)
        .describe('Ours: clients remembered at once, which bounds the memory of the limiter.'),
    })
    .prefault({})
    .describe('Ours: requests per client address.'),
})

const identityProviderSchema = z
  .strictObject({
    issuer: z.string().min(1).max(1024).optional().describe('Value that `iss` must have.'),
    audience: z.string().min(1).max(1024).optional().describe('Value that must be in `aud`.'),
    public_key_uri: webAddress()
      .optional()
      .describe(
        'PEM public key (EC, RSA or Ed25519), or several in one file: path, `file://` or `https://`.',
      ),
    jwk_set_uri: webAddress()
      .optional()
      .describe('JWK set, or OpenID discovery base address: path, `file://` or `https://`.'),
    ca: filePath()
      .optional()
      .describe('Ours: PEM file with the CA that the https source is checked against.'),
    default_role: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe('Ours: role of a verified token that has no `role` claim. Absent: such a token is refused.'),
  })
  .refine((provider) => provider.public_key_uri !== undefined || provider.jwk_set_uri !== undefined, {
    message: 'needs a key source: set public_key_uri or jwk_set_uri',
  })

const aclSchema = z.strictObject({
  role: z.string().min(1).max(256).describe('Role that this entry is for.'),
  allowed_endpoints: z
    .string()
    .min(1)
    .max(4096)
    .describe('Regular expression (RE2 syntax), `^/kbs…$`, that the whole decoded path must match.'),
  methods: z
    .array(z.enum(['GET', 'POST', 'PUT', 'DELETE']))
    .min(1)
    .optional()
    .describe('Ours: methods that this entry allows. Absent: all.'),
})

export const adminSchema = z.strictObject({
  authorization_mode: z
    .enum(['InsecureAllowAll', 'DenyAll', 'AuthenticatedAuthorization'])
    .default('DenyAll')
    .describe('Who may administrate. `InsecureAllowAll` is refused off loopback in the production profile.'),
  authentication: z
    .strictObject({
      bearer_jwt: z
        .strictObject({
          identity_providers: z.array(identityProviderSchema).min(1).max(32).describe('Tried in order.'),
        })
        .describe('Administrators show a JWT.'),
    })
    .optional(),
  authorization: z
    .strictObject({
      regex_acl: z.strictObject({
        acls: z.array(aclSchema).min(1).max(256).describe('Allowed where one entry fits.'),
      }),
    })
    .optional(),
})

const issuerSchema = z
  .strictObject({
    issuer: z.string().min(1).max(1024).optional().describe('Ours: value that `iss` must have.'),
    audience: z.string().min(1).max(1024).optional().describe('Ours: value that must be in `aud`.'),
    jwk_sets: z
      .array(webAddress())
      .max(16)
      .default([])
      .describe(
        'Ours: JWK sets or OpenID discovery base addresses of this issuer: path, `file://` or `https://`.',
      ),
    certs: z
      .array(filePath())
      .max(16)
      .default([])
      .describe('Ours: PEM files with the CA certificates that may certify this issuer’s signing key.'),
    ca: filePath().optional().describe('Ours: PEM file with the CA that https sources are checked against.'),
  })
  .refine((issuer) => issuer.jwk_sets.length + issuer.certs.length > 0, {
    message: 'needs keys: set jwk_sets or certs',
  })

export const attestationTokenSchema = z.strictObject({
  trusted_certs_paths: z
    .array(filePath())
    .max(32)
    .default([])
    .describe(
      'PEM files with CA certificates; a passport signed by a key that they certify is accepted, whatever its issuer.',
    ),
  trusted_jwk_sets: z
    .array(webAddress())
    .max(32)
    .default([])
    .describe(
      'JWK sets (path, `file://`, `https://` or OpenID discovery); their keys are accepted, whatever the issuer.',
    ),
  extra_teekey_paths: z
    .array(
      z
        .string()
        .regex(/^(?:\/(?:[^~]|~[01])*)?$/, 'must be a JSON pointer')
        .max(1024),
    )
    .max(32)
    .default([])
    .describe('JSON pointers to the TEE public key, tried before the usual places.'),
  insecure_header_jwk: z
    .boolean()
    .default(false)
    .describe(
      'Believe the key in the token’s own header: anyone can make passports. Development profile only.',
    ),
  issuers: z
    .array(issuerSchema)
    .max(32)
    .default([])
    .describe('Ours: trusted issuers, each with its own keys.'),
  audience: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .describe('Ours: value that must be in `aud` of every passport, whoever issued it.'),
  jwks_refresh_seconds: count(10, 86_400)
    .default(300)
    .describe('Ours: interval at which key sources are read again; files every 10 s.'),
  jwks_cooldown_seconds: count(1, 3_600)
    .default(30)
    .describe('Ours: shortest time between two reads that unknown keys provoke.'),
  jwks_max_age_seconds: count(60, 2_592_000)
    .default(86_400)
    .describe('Ours: time for which the last good keys are used while their source does not answer.'),
  clock_skew_seconds: count(0, 300)
    .default(60)
    .describe('Ours: tolerated clock difference for `exp` and `nbf`.'),
})

const vcekSource = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('KDS'),
    base_url: webAddress().default('https://kdsintf.amd.com').describe('AMD key distribution service.'),
    timeout_ms: milliseconds(100, 30_000).default(10_000).describe('Ours: time in which it must answer.'),
  }),
  z.strictObject({
    type: z.literal('OfflineStore'),
    path: filePath()
      .default('/opt/confidential-containers/attestation-service/kds-store')
      .describe('Directory of VCEK certificates.'),
  }),
])

export const verifierConfigSchema = z.strictObject({
  snp_verifier: z
    .strictObject({
      vcek_sources: z
        .array(vcekSource)
        .min(1)
        .max(8)
        .prefault([{ type: 'KDS' }])
        .describe('Where VCEK certificates come from when evidence brings none; tried in order.'),
      cert_validity: z
        .enum(['enforce', 'ignore'])
        .default('enforce')
        .describe('Ours: validity dates of AMD certificates. `ignore` is for the development profile.'),
      crl_policy: z
        .enum(['off', 'soft', 'require'])
        .default('soft')
        .describe('Ours: AMD revocation lists: not read, believed when at hand, or demanded.'),
      allowed_vmpl: z
        .array(count(0, 3))
        .max(4)
        .default([0])
        .describe('Ours: privilege levels from which a report may come.'),
      reject_debug: z
        .boolean()
        .optional()
        .describe(
          'Ours: refuse guests that the host may debug. Default: `true` in production, where `false` stops the start.',
        ),
      allow_masked_chip_id: z
        .boolean()
        .default(false)
        .describe('Ours: accept a report without chip id when its certificates are supplied.'),
      cache_dir: filePath().optional().describe('Ours: directory that keeps fetched certificates.'),
      trusted_roots: filePath()
        .optional()
        .describe(
          'Ours: directory of `<generation>_ask_ark_asvk.pem` to trust instead of AMD’s roots. Development profile only.',
        ),
      risk: amdRiskSchema,
    })
    .prefault({})
    .describe('AMD SEV-SNP.'),
  az_snp_vtpm_verifier: z
    .strictObject({
      min_evidence_version: count(0, 2)
        .default(0)
        .describe('Ours: oldest evidence version accepted; 2 binds the runtime data twice.'),
    })
    .prefault({})
    .describe('Ours: Azure SEV-SNP with vTPM.'),
  az_tdx_vtpm_verifier: z
    .strictObject({
      min_evidence_version: count(0, 1).default(0).describe('Ours: oldest evidence version accepted.'),
    })
    .prefault({})
    .describe('Ours: Azure TDX with vTPM.'),
  dcap_verifier: z
    .strictObject({
      collateral_service: webAddress()
        .default('https://api.trustedservices.intel.com/sgx/certification/v4/')
        .describe('Intel PCS or a PCCS; `file://` names an offline collateral file.'),
      urls: z.array(webAddress()).max(8).default([]).describe('Ours: further services, tried in order.'),
      ca: filePath().optional().describe('Ours: PEM file with the CA of a PCCS that has its own.'),
      timeout_ms: milliseconds(100, 20_000)
        .default(10_000)
        .describe('Ours: time in which a service must answer; all services together get twice as long.'),
      retry_seconds: count(1, 3_600)
        .default(60)
        .describe(
          'Ours: time for which a failure to fetch a document is remembered instead of asking again.',
        ),
      cache_dir: filePath().optional().describe('Ours: directory that keeps fetched collateral.'),
      offline_dir: filePath()
        .optional()
        .describe('Ours: directory of collateral to use instead of the network.'),
      tcb_update_type: z
        .enum(['early', 'standard'])
        .default('early')
        .describe('Which TCB baseline is asked for.'),
      allow_debug: z
        .boolean()
        .default(false)
        .describe('Ours: accept debuggable TDs and enclaves. Development profile only.'),
      report_expired: z
        .boolean()
        .default(false)
        .describe('Ours: report expired collateral as a claim instead of refusing.'),
      trusted_root: filePath()
        .optional()
        .describe('Ours: PEM certificate to trust instead of Intel’s SGX root. Development profile only.'),
      require_eventlog: z.boolean().default(false).describe('Ours: refuse TDX evidence without event log.'),
      risk: intelRiskSchema,
    })
    .prefault({})
    .describe('Intel TDX and SGX.'),
  csv_verifier: z
    .strictObject({
      cert_dir: filePath()
        .default('/opt/hygon/csv/hsk_cek')
        .describe('Ours: directory of HSK and CEK certificates, `<chip id>/hsk_cek.cert`.'),
      base_url: webAddress().default('https://cert.hygon.cn').describe('Ours: Hygon’s certificate service.'),
      timeout_ms: milliseconds(100, 30_000).default(10_000).describe('Ours: time in which it must answer.'),
      min_report_version: count(1, 2).default(1).describe('Ours: oldest report version accepted.'),
      allow_debug: z
        .boolean()
        .default(false)
        .describe('Ours: accept guests that the host may debug. Development profile only.'),
      ignore_init_data: z
        .boolean()
        .default(false)
        .describe('Ours: accept init-data that CSV cannot bind; it gives no claims.'),
      cache_dir: filePath().optional().describe('Ours: directory that keeps fetched certificates.'),
      trusted_root: filePath()
        .optional()
        .describe('Ours: HRK certificate to trust instead of Hygon’s. Development profile only.'),
      risk: hygonRiskSchema,
    })
    .prefault({})
    .describe('Ours: Hygon CSV.'),
})

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

const remoteReferenceValues = z.strictObject({
  type: z.literal('GrpcRemote').describe('Reference values are kept by a provider that runs elsewhere.'),
  address: z
    .string()
    .min(1)
    .max(2048)
    .default('127.0.0.1:50003')
    .describe('Its address: `host:port`, which is `http://`, or with scheme, `https://` for TLS.'),
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

const apiScopes = () => z.array(z.enum(['attest', 'administer'])).max(2)

export const attestationApiSchema = z.strictObject({
  grpc_sockets: sockets()
    .default(['127.0.0.1:50004'])
    .describe('Ours: addresses of the gRPC services, each `ip:port`; TLS as `[http_server]`.'),
  client_ca: filePath()
    .optional()
    .describe('Ours: PEM file with the CA of client certificates, for gRPC and REST.'),
  clients: z
    .array(
      z
        .strictObject({
          name: z.string().min(1).max(256).describe('Ours: name in the audit trail.'),
          certificate_name: z
            .string()
            .regex(/^[^\s,"]{1,1024}$/, 'must be one DNS name or URI')
            .optional()
            .describe('Ours: DNS name or URI in the certificate’s subject alternative name.'),
          token_file: filePath()
            .optional()
            .describe(
              'Ours: file with a bearer token of at least 32 characters, or up to four, one a line; read again when it changes.',
            ),
          scopes: apiScopes()
            .min(1)
            .default(['attest'])
            .describe(
              'Ours: `attest`: have evidence evaluated; `administer`: attestation policies and reference values.',
            ),
        })
        .refine((client) => (client.certificate_name === undefined) !== (client.token_file === undefined), {
          message: 'set exactly one of certificate_name and token_file',
        }),
    )
    .max(256)
    .default([])
    .describe('Ours: who may call, such as a KBS1.'),
  anonymous: apiScopes()
    .optional()
    .describe(
      'Ours: scopes of callers without credentials. Default: all on loopback, none elsewhere. A Trustee KBS has no credentials.',
    ),
})

export const storageBackendSchema = z.strictObject({
  storage_type: storageType().default('Memory').describe('Where everything is kept.'),
  backends: z
    .strictObject({
      local_fs: localFsSectionSchema.strict().optional().describe('Files of one machine.'),
      redis: redisSectionSchema.optional().describe('Redis: alone, behind Sentinels, or a cluster.'),
      postgres: postgresSectionSchema.optional().describe('PostgreSQL. Tables are made by the program.'),
      local_json: localJsonSectionSchema
        .strict()
        .optional()
        .describe('Files of one machine, a namespace each: for folders of Trustee only, LocalFs is better.'),
    })
    .prefault({})
    .describe('Parameters per storage type; the section of the type in use must exist, and may be empty.'),
  encryption: encryptionSectionSchema
    .optional()
    .describe('Ours: encryption of what is stored, AES-256-GCM under a key of yours.'),
})

export const configSchema = z.strictObject({
  profile: z
    .enum(['production', 'development'])
    .default('production')
    .describe('Ours: what is unsafe is possible only in `development`. Env `KBS_PROFILE` overrides.'),
  state_dir: filePath()
    .optional()
    .describe('Ours: directory for what the service itself must keep, such as a signing key that it made.'),
  session_storage_type: storageType()
    .optional()
    .describe(
      'Where sessions are kept; default: as `storage_backend` where that is Redis or Postgres, else memory (they hold passports).',
    ),
  max_sessions: count(1, 10_000_000)
    .default(DEFAULT_MAX_SESSIONS)
    .describe(
      'Ours: live handshake sessions of one process; beyond that `/auth` answers 503. Redis bounds its memory itself.',
    ),
  log_level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .optional()
    .describe('Ours: log level; env `KBS_LOG` or `RUST_LOG` override. Default `info`.'),
  http_server: httpServerSchema.prefault({}).describe('Listeners and their limits.'),
  admin: adminSchema.prefault({}).describe('Administrators.'),
  attestation_token: attestationTokenSchema.prefault({}).describe('Which passports are accepted.'),
  attestation_service: attestationServiceSchema
    .prefault({ type: 'coco_as_builtin' })
    .describe('How evidence is verified.'),
  attestation_api: attestationApiSchema
    .prefault({})
    .describe('Ours: the program `attestation-service`, and who may call it.'),
  storage_backend: storageBackendSchema.prefault({}).describe('Storage.'),
  plugins: z.array(pluginSchema).max(64).default([]).describe('What is served under `/kbs/v0/<name>`.'),
  policy: z
    .strictObject({
      deny_status: z
        .union([z.literal(401), z.literal(403)])
        .default(401)
        .describe('Ours: status of a policy denial; 403 keeps guests from attesting again.'),
      default_policy: z
        .enum(['deny-all', 'affirming', 'allow-all', 'trustee-default'])
        .default('deny-all')
        .describe('Ours: resource policy that is installed when there is none.'),
      timeout_ms: milliseconds(1, 30_000).default(1_000).describe('Ours: time limit of one evaluation.'),
    })
    .prefault({})
    .describe('Ours: the resource policy.'),
  tee_keys: z
    .strictObject({
      allow_rsa1_5: z
        .boolean()
        .default(false)
        .describe('Ours: accept TEE keys of the broken algorithm RSA1_5.'),
      allow_ml_kem: z.boolean().default(false).describe('Ours: accept ML-KEM-768+A192KW TEE keys.'),
    })
    .prefault({})
    .describe('Ours: public keys that secrets may be encrypted to.'),
  metrics: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Ours: whether `/metrics` answers.'),
      sockets: sockets()
        .optional()
        .describe(
          'Ours: addresses of their own for `/metrics`, each `ip:port`, with `/healthz` and `/readyz`; guests then cannot read it. Absent: `/metrics` is on the sockets of `[http_server]`. Limits and TLS are those of `[http_server]`.',
        ),
      insecure_http: z
        .boolean()
        .optional()
        .describe(
          'Ours: plain HTTP on `sockets`. For loopback, or where a network policy admits only your monitoring. Default: as `http_server.insecure_http`.',
        ),
      resource_paths: z
        .boolean()
        .default(false)
        .describe(
          'Ours: whether the label `resource_path` names the resource. Absent it is `*`, for paths are secret names.',
        ),
      max_resource_paths: count(1, 100_000)
        .default(200)
        .describe('Ours: distinct resource paths in labels; further ones are counted as `other`.'),
    })
    .prefault({})
    .describe('Ours: metrics.'),
})

export type RawConfig = z.output<typeof configSchema>

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
