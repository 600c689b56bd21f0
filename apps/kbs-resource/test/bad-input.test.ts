import { presets } from '@passport-kbs/policy'
import { describe, expect, it } from 'vitest'
import { listen, send } from '../../kbs-attest/test/listener.ts'
import { mutations } from '../../kbs-attest/test/mutations.ts'
import { openTestKbs, passport, utf8 } from './fixtures.ts'

const runs = 250
const off = { per_second: 0 }
const httpServer = { rate_limits: { auth: off, attest: off, resource: off, admin: off } }

async function withSecret() {
  const kbs = await openTestKbs({ policy: presets.allowAll, httpServer })
  await kbs.storage.namespace('repository').set('a/b/c', utf8('secret'))
  return kbs
}

describe('input that is almost right is refused with an error body and never breaks anything', () => {
  it('passports: no mutation is believed', async () => {
    const kbs = await withSecret()
    const { authorization } = await passport()
    for (const mutation of mutations(authorization, runs)) {
      const header = Buffer.from(mutation).toString('latin1')
      if (header === authorization || /[^\x20-\x7e]/.test(header)) continue
      const answer = await kbs.request('GET', '/kbs/v0/resource/a/b/c', { authorization: header })
      expect([header, answer.status]).toEqual([header, 401])
      expect(await answer.json()).toHaveProperty('detail')
    }
  })

  it('targets: none of them writes anything but a resource', async () => {
    const kbs = await withSecret()
    const { url } = await listen({ app: kbs.app, httpServer: kbs.config.httpServer, logger: kbs.deps.logger })
    for (const mutation of mutations('/kbs/v0/resource/aa/bb/cc?x=1&y=2', runs)) {
      const target = Buffer.from(mutation).toString('latin1')
      // what no HTTP client lets out
      if (!target.startsWith('/') || /[^\x21-\x7e]|\\/.test(target)) continue
      const answer = await send(url, target, { method: 'POST', body: 'x' })
      expect([200, 400, 404], target).toContain(answer.status)
      if (answer.status !== 200) expect(await answer.json()).toHaveProperty('detail')
    }
    for (const key of await kbs.storage.namespace('repository').list())
      expect(key).toMatch(/^[\w.-]+\/[\w.-]+\/[\w.-]+$/)
    expect(await kbs.storage.namespace('kbs').list()).toEqual(['resource-policy.rego'])
  })

  it('policy uploads', async () => {
    const kbs = await withSecret()
    const good = JSON.stringify({ policy: Buffer.from(presets.affirming).toString('base64url') })
    for (const body of mutations(good, runs)) {
      const answer = await kbs.request('POST', '/kbs/v0/resource-policy', {}, body)
      expect([200, 400], Buffer.from(body).toString('base64')).toContain(answer.status)
    }
  })

  it('policy texts', async () => {
    const kbs = await withSecret()
    for (const rego of mutations(presets.affirming, runs)) {
      const body = JSON.stringify({ policy: Buffer.from(rego).toString('base64url') })
      const answer = await kbs.request('POST', '/kbs/v0/resource-policy', {}, body)
      expect([200, 400], Buffer.from(rego).toString('base64')).toContain(answer.status)
    }
  })
})
