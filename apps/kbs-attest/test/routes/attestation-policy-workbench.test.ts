import { createHash } from 'node:crypto'
import { defaultPolicies } from '@passport-kbs/attestation-service'
import { describe, expect, it } from 'vitest'
import { openTestKbs, smallPolicy, type TestKbs } from '../fixtures.ts'

/** What the answers of the workbench hold. */
interface Answer {
  readonly sha384: string
  readonly active: string
  readonly policy: string
  readonly versions: readonly { sha384: string; origin: string }[]
  readonly errors: readonly object[]
  readonly warnings: readonly { code: string }[]
}
const answerOf = async (answer: Response) => (await answer.json()) as Answer

const path = '/kbs/v0/attestation-policy'
const hash = (text: string) => createHash('sha384').update(text).digest('hex')
const upload = (text: string, id = 'default_cpu') =>
  JSON.stringify({ policy_id: id, policy: Buffer.from(text).toString('base64url') })
const read = async (kbs: TestKbs, below = '') => {
  const answer = await kbs.get(path + below)
  return { status: answer.status, body: await answerOf(answer) }
}
const shipped = defaultPolicies.get('default_cpu') ?? ''

describe('attestation policies', () => {
  it('are read with their hash', async () => {
    const kbs = await openTestKbs()
    const { body } = await read(kbs, '/default_cpu')
    expect(body).toMatchObject({ policy_id: 'default_cpu', type: 'rego', sha384: hash(shipped) })
    expect(Buffer.from(body.policy, 'base64url').toString()).toBe(shipped)
  })

  it.each(['/none', '/none/history', '/%00', `/default_cpu/history/${'0'.repeat(96)}`, '/a/b'])(
    'are not found at %s',
    async (below) => {
      expect((await (await openTestKbs()).get(path + below)).status).toBeGreaterThanOrEqual(400)
    },
  )

  it('go back to an earlier version, with the hash in the audit trail', async () => {
    const kbs = await openTestKbs()
    expect((await kbs.post(path, upload(smallPolicy))).status).toBe(200)
    expect(kbs.audits().at(-1)).toMatchObject({ policyId: 'default_cpu', policySha384: hash(smallPolicy) })
    const { versions, active } = (await read(kbs, '/default_cpu/history')).body
    expect(active).toBe(hash(smallPolicy))
    expect(versions).toMatchObject([
      { sha384: hash(smallPolicy), origin: 'set' },
      { sha384: hash(shipped), origin: 'found' },
    ])
    const back = await kbs.post(`${path}/default_cpu/rollback`, JSON.stringify({ sha384: hash(shipped) }))
    expect(back.status).toBe(200)
    expect(kbs.audits().at(-1)).toMatchObject({
      event: 'attestation-policy-rollback',
      policyId: 'default_cpu',
      policySha384: hash(shipped),
    })
    expect((await read(kbs, '/default_cpu')).body.sha384).toBe(hash(shipped))
  })

  it('have histories of their own', async () => {
    const kbs = await openTestKbs()
    await kbs.post(path, upload(smallPolicy))
    const back = await kbs.post(`${path}/default_gpu/rollback`, JSON.stringify({ sha384: hash(smallPolicy) }))
    expect(back.status).toBe(404)
  })

  it('are checked without being set; reference values that are not registered are named', async () => {
    const kbs = await openTestKbs()
    const text = `package policy

trust_claims := {"hardware": 2} if {
	input.snp.measurment in query_reference_value("never_registered")
}
`
    const answer = await answerOf(await kbs.post(`${path}/check`, upload(text)))
    expect(answer.errors).toEqual([])
    expect(answer.warnings.map(({ code }) => code).toSorted()).toEqual([
      'unknown_claim',
      'unknown_reference_value',
    ])
    expect((await read(kbs, '/default_cpu')).body.sha384).toBe(hash(shipped))
  })
})
