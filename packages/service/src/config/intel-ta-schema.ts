import { z } from 'zod'
import { filePath, webAddress } from './schema-values.ts'

/** `[attestation_service]` with `type = "intel_ta"` (spec 02 §8.1), without the members that every type has. */
export const intelTrustAuthorityKeys = {
  type: z
    .literal('intel_ta')
    .describe('Evidence of TDX, SGX and Azure TDX is verified by Intel Trust Authority.'),
  base_url: webAddress().describe('Address of its API, e.g. `https://api.trustauthority.intel.com`.'),
  api_key_file: filePath()
    .optional()
    .describe(
      'Ours: file with the API key, in place of Trustee’s `api_key`; read again when it changes. Required.',
    ),
  api_key: z
    .string()
    .max(4096)
    .optional()
    .describe('Refused, for a configuration is no place for a secret: set `api_key_file`.'),
  certs_file: webAddress().describe(
    'Its JWK set: `https://portal.trustauthority.intel.com/certs`, a path or `file://`. Read again as `[attestation_token]` says.',
  ),
  policy_ids: z
    .array(
      z
        .string()
        .regex(/^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'must be a UUID of a policy there'),
    )
    .max(64)
    .default([])
    .describe('Policies there that evidence has to match.'),
  allow_unmatched_policy: z
    .boolean()
    .default(false)
    .describe('Pass on tokens although policies do not match; the resource policy has to look.'),
  ca: filePath()
    .optional()
    .describe('Ours: PEM file with the CA of its https addresses, instead of the system’s.'),
  request_timeout_ms: z
    .int()
    .min(100)
    .max(44_000)
    .default(40_000)
    .describe(
      'Ours: time limit of an evaluation, retries included; one call takes 15 s at most. Guests give up after 60 s, `/attest` after 45 s.',
    ),
  session_key_path: filePath()
    .optional()
    .describe(
      'Ours: PEM file with a P-256 key that sessions are sealed with; replicas need the same. Absent: one is made, and kept in `state_dir` if there is one.',
    ),
}
