import { describe, expect, it } from 'vitest'
import { attestation, authBody, authenticate, openTestKbs, type TestKbs, text } from './fixtures.ts'
import { mutations } from './mutations.ts'

const runs = 250
const off = { per_second: 0 }
const httpServer = { rate_limits: { auth: off, attest: off, resource: off, admin: off } }

/** Posts every mutation; nothing may come of it but success or a refusal with an error body. */
async function postAll(kbs: TestKbs, path: string, good: string): Promise<Set<number>> {
  const statuses = new Set<number>()
  for (const body of mutations(good, runs)) {
    const { cookie } = path.endsWith('/attest') ? await authenticate(kbs) : { cookie: '' }
    const answer = await kbs.post(path, body, { cookie })
    statuses.add(answer.status)
    if (answer.status === 200) continue
    expect([400, 401], `${answer.status} for ${Buffer.from(body).toString('base64')}`).toContain(
      answer.status,
    )
    expect(await answer.json()).toMatchObject({ type: expect.any(String), detail: expect.any(String) })
  }
  return statuses
}

const policy = Buffer.from('package policy\n\ntrust_claims := {"executables": 3}\n').toString('base64url')

describe('input that is almost right is refused with an error body and never breaks anything', () => {
  it.each([
    ['/auth', authBody()],
    ['/attest', text(attestation({ nonce: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=' }))],
    ['/attestation-policy', `{"type":"rego","policy_id":"default_cpu","policy":"${policy}"}`],
    ['/reference-value', '{"version":"0.1.0","type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="}'],
  ])('%s', async (verb, good) => {
    const kbs = await openTestKbs({ httpServer })
    const statuses = await postAll(kbs, `/kbs/v0${verb}`, good)
    expect(statuses.size).toBeGreaterThan(1)
    expect((await kbs.get('/readyz')).status).toBe(200)
  })

  it('evidence', async () => {
    const kbs = await openTestKbs({ httpServer })
    const good = '{"svn":"1","report_data":"imJERBsbEXGzodVqaT1M4RbB"}'
    for (const evidence of mutations(good, runs)) {
      const { nonce, cookie } = await authenticate(kbs)
      const [head, tail] = text(attestation({ nonce, reportData: '@' })).split(
        '{"svn":"1","report_data":"@"}',
      )
      const body = Uint8Array.from(
        Buffer.concat([Buffer.from(head ?? ''), evidence, Buffer.from(tail ?? '')]),
      )
      const answer = await kbs.post('/kbs/v0/attest', body, { cookie })
      expect([400, 401], Buffer.from(evidence).toString('base64')).toContain(answer.status)
    }
  })
})
