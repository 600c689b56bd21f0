import type { ServiceEnv } from '@passport-kbs/service'
import type { Hono } from 'hono'
import { z } from 'zod'
import type { ApiDeps } from '../deps.ts'
import { plainText, readBody, restCall } from './rest-call.ts'

/** POST /challenge: the nonce that a verifier makes itself; empty where the KBS makes it (spec 02 §1.5). */
export function mountChallenge(app: Hono<ServiceEnv>, { operations, callers }: ApiDeps): void {
  app.post('/challenge', async (c) => {
    await restCall(callers, c, 'attest')
    return c.body(operations.challenge(await readBody(c, z.record(z.string(), z.string()))), 200, plainText)
  })
}
