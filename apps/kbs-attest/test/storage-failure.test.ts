import { redisSectionSchema, type StorageConfig } from '@passport-kbs/storage'
import { type RedisServer, redisAvailable, startRedis } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  attestation,
  authBody,
  authenticate,
  openTestKbs,
  smallPolicy,
  type TestKbs,
  text,
  tokenOf,
} from './fixtures.ts'
import { expectProblem } from './problem.ts'

const hasRedis = redisAvailable()
if (!hasRedis) console.warn('redis-server is not installed: KBS1 is not tested with a Redis that goes down')

const encoded = Buffer.from(smallPolicy).toString('base64url')
const policyMessage = JSON.stringify({ policy_id: 'default_cpu', policy: encoded })
const valueMessage = '{"type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="}'

describe.skipIf(!hasRedis && process.env.CI !== 'true')('KBS1 when Redis goes down', () => {
  let redis: RedisServer
  let storage: StorageConfig
  let kbs: TestKbs
  beforeAll(async () => {
    redis = await startRedis()
    storage = {
      type: 'Redis',
      redis: redisSectionSchema.parse({ url: redis.url, command_timeout_ms: 300 }),
    }
    kbs = await openTestKbs({ storage, sessions: storage })
  })
  afterAll(async () => {
    await kbs.deps.sessions.close()
    await redis.stop()
  })

  it('answers 503 with an error body and Retry-After everywhere, is not ready, and goes on afterwards', async () => {
    expect((await kbs.post('/kbs/v0/attestation-policy', policyMessage)).status).toBe(200)
    expect((await kbs.post('/kbs/v0/reference-value', valueMessage)).status).toBe(200)
    const session = await authenticate(kbs)
    const attest = () => kbs.post('/kbs/v0/attest', text(attestation(session)), { cookie: session.cookie })

    await redis.kill()
    const answers = await Promise.all([
      kbs.post('/kbs/v0/auth', authBody()),
      attest(),
      kbs.post('/kbs/v0/attestation-policy', policyMessage),
      kbs.post('/kbs/v0/reference-value', valueMessage),
      kbs.get('/kbs/v0/reference-value/svn'),
    ])
    for (const answer of answers) {
      expect(answer.headers.get('retry-after')).toBe('5')
      expect(answer.headers.get('set-cookie')).toBeNull()
      await expectProblem(answer, 503, 'ServiceUnavailable')
    }
    const ready = await kbs.get('/readyz')
    expect(ready.status).toBe(503)
    expect(await ready.json()).toMatchObject({ checks: { attestation: 'failing', sessions: 'failing' } })
    expect((await kbs.get('/healthz')).status).toBe(200)
    expect((await kbs.get('/.well-known/jwks.json')).status).toBe(200)

    await redis.restart()
    await expect.poll(async () => (await kbs.get('/readyz')).status, { timeout: 4_000 }).toBe(200)
    expect(await (await kbs.get('/kbs/v0/reference-value/svn')).text()).toBe('["1"]')
    // the session, its nonce unspent, has survived as well
    await tokenOf(await attest())
  })

  it('starts while Redis is down, and serves once it is there', async () => {
    await redis.kill()
    const late = await openTestKbs({ storage, sessions: storage })
    await expectProblem(await late.post('/kbs/v0/auth', authBody()), 503, 'ServiceUnavailable')
    await redis.restart()
    await expect.poll(async () => (await late.post('/kbs/v0/auth', authBody())).status).toBe(200)
    await late.deps.sessions.close()
  })
})
