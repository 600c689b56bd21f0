import { presets } from '@passport-kbs/policy'
import { redisSectionSchema, type StorageConfig } from '@passport-kbs/storage'
import { type RedisServer, redisAvailable, startRedis } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectProblem } from '../../kbs-attest/test/problem.ts'
import { opened, openTestKbs, passport, type TestKbs, utf8 } from './fixtures.ts'

const hasRedis = redisAvailable()
if (!hasRedis) console.warn('redis-server is not installed: KBS2 is not tested with a Redis that goes down')

const resource = '/kbs/v0/resource/a/b/c'
const policy = '/kbs/v0/resource-policy'
const policyMessage = JSON.stringify({ policy: Buffer.from(presets.allowAll).toString('base64url') })

describe.skipIf(!hasRedis && process.env.CI !== 'true')('KBS2 when Redis goes down', () => {
  let redis: RedisServer
  let storage: StorageConfig
  let kbs: TestKbs
  beforeAll(async () => {
    redis = await startRedis()
    const section = { url: redis.url, command_timeout_ms: 300 }
    storage = { type: 'Redis', redis: redisSectionSchema.parse(section) }
    kbs = await openTestKbs({ storage })
  })
  afterAll(async () => {
    await kbs.storage.close()
    await redis.stop()
  })

  it('answers 503 with an error body, allows nothing by an old policy, and goes on afterwards', async () => {
    expect((await kbs.request('POST', resource, {}, 'secret')).status).toBe(200)
    expect(await opened(await kbs.request('GET', resource, await passport()))).toEqual(utf8('secret'))

    await redis.kill()
    const answers = await Promise.all([
      kbs.request('GET', resource, await passport()),
      kbs.request('POST', resource, {}, 'another'),
      kbs.request('DELETE', resource),
      kbs.request('GET', policy),
      kbs.request('POST', policy, {}, policyMessage),
    ])
    for (const answer of answers) {
      expect(answer.headers.get('retry-after')).toBe('5')
      await expectProblem(answer, 503, 'ServiceUnavailable')
    }
    const failed = kbs.audits().filter(({ decision }) => decision === 'failed')
    expect(failed.map(({ event }) => event).sort()).toEqual([
      'resource-delete',
      'resource-read',
      'resource-write',
    ])
    // who has no passport needs no store to be told so
    await expectProblem(await kbs.request('GET', resource), 401, 'TokenNotFound')
    const ready = await kbs.request('GET', '/readyz')
    expect([ready.status, await ready.json()]).toMatchObject([503, { checks: { storage: 'failing' } }])
    expect((await kbs.request('GET', '/healthz')).status).toBe(200)

    await redis.restart()
    await expect.poll(async () => (await kbs.request('GET', '/readyz')).status, { timeout: 4_000 }).toBe(200)
    expect(await opened(await kbs.request('GET', resource, await passport()))).toEqual(utf8('secret'))
  })

  it('starts while Redis is down, and installs its policy once it is there', async () => {
    await kbs.storage.namespace('kbs').delete('resource-policy.rego')
    await redis.kill()
    const late = await openTestKbs({ storage, policy: presets.allowAll })
    await expectProblem(await late.request('GET', resource, await passport()), 503, 'ServiceUnavailable')
    await redis.restart()
    const status = async () => (await late.request('GET', resource, await passport())).status
    await expect.poll(status).toBe(200)
    await late.storage.close()
  })
})
