import type { JsonValue } from '@passport-kbs/protocol'
import type { ServiceEnv } from '@passport-kbs/service'
import type { Hono } from 'hono'
import { z } from 'zod'
import type { ApiDeps } from '../deps.ts'
import type { IndividualRequest } from '../evaluation-request.ts'
import { plainText, readBody, restCall } from './rest-call.ts'

const anyJson = z.custom<JsonValue>((value) => value !== undefined, 'missing')

const requestSchema = z.object({
  verification_requests: z.array(
    z.object({
      tee: z.string(),
      evidence: z.string(),
      runtime_data: z
        .union([z.strictObject({ raw: z.string() }), z.strictObject({ structured: anyJson })], {
          error: 'not an object with either raw or structured',
        })
        .optional(),
      init_data: z
        .union(
          [z.strictObject({ init_data_digest: z.string() }), z.strictObject({ init_data_toml: z.string() })],
          {
            error: 'not an object with either init_data_digest or init_data_toml',
          },
        )
        .optional(),
      runtime_data_hash_algorithm: z.string().optional(),
    }),
  ),
  policy_ids: z.array(z.string()),
})

type RestRequest = z.output<typeof requestSchema>['verification_requests'][number]

/** POST /attestation: evidence -> token, as text (spec 02 §1.5). */
export function mountAttestation(app: Hono<ServiceEnv>, { operations, callers }: ApiDeps): void {
  app.post('/attestation', async (c) => {
    const call = await restCall(callers, c, 'attest')
    const { verification_requests, policy_ids } = await readBody(c, requestSchema)
    const requests = verification_requests.map(individualRequest)
    return c.body(await operations.evaluate(call, { requests, policyIds: policy_ids }), 200, plainText)
  })
}

function individualRequest(request: RestRequest): IndividualRequest {
  const { tee, evidence, runtime_data: runtime, init_data: init } = request
  return {
    tee,
    evidence,
    hashAlgorithm: request.runtime_data_hash_algorithm,
    ...(runtime === undefined
      ? {}
      : 'raw' in runtime
        ? { rawRuntimeData: runtime.raw }
        : { structuredRuntimeData: runtime.structured }),
    ...(init === undefined
      ? {}
      : 'init_data_digest' in init
        ? { initDataDigest: init.init_data_digest }
        : { initDataToml: init.init_data_toml }),
  }
}
