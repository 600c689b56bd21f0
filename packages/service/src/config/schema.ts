import {
  DEFAULT_MAX_SESSIONS,
  encryptionSectionSchema,
  localFsSectionSchema,
  localJsonSectionSchema,
  postgresSectionSchema,
  redisSectionSchema,
} from '@passport-kbs/storage'
import { z } from 'zod'
import { adminSchema } from './admin-schema.ts'
import { attestationApiSchema } from './attestation-api-schema.ts'
import { attestationServiceSchema } from './attestation-schema.ts'
import { httpServerSchema } from './http-schema.ts'
import { pluginSchema } from './plugin-schema.ts'
import { count, filePath, milliseconds, sockets, storageType } from './schema-values.ts'
import { attestationTokenSchema } from './token-schema.ts'

/**
 * The configuration file, key by key (spec 01 §7, §10). Keys, values and defaults are Trustee's unless the description
 * begins with "Ours:". Every object is strict: a key that is not written here is refused, except those listed in
 * `tolerated-keys.ts`. The reference in `docs/configuration.md` is made from these descriptions.
 */

const storageBackendSchema = z.strictObject({
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
