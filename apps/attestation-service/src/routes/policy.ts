import type { ServiceEnv } from '@passport-kbs/service'
import type { Hono } from 'hono'
import { z } from 'zod'
import type { ApiDeps } from '../deps.ts'
import { noStore, plainText, readBody, restCall } from './rest-call.ts'

const policySchema = z.object({ policy_id: z.string(), policy: z.string() })

/** Attestation policies (spec 02 §1.5, W-20): set, list, read. Ids carry the class, e.g. `default_cpu`. */
export function mountPolicy(app: Hono<ServiceEnv>, { operations, callers }: ApiDeps): void {
  app.post('/policy', async (c) => {
    const call = await restCall(callers, c, 'administer')
    const { policy_id, policy } = await readBody(c, policySchema)
    await operations.setPolicy(call, policy_id, policy)
    return c.body('', 200, noStore)
  })
  app.get('/policy', async (c) => {
    await restCall(callers, c, 'administer')
    const ids = await operations.listPolicies()
    return c.body(JSON.stringify(ids.map((id) => ({ 'policy-id': id }))), 200, plainText)
  })
  app.get('/policy/:id', async (c) => {
    await restCall(callers, c, 'administer')
    return c.body(await operations.getPolicy(c.req.param('id')), 200, plainText)
  })
}
