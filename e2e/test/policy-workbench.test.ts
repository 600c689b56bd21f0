/** An administrator works on the policies of two Trustees with kbsctl. */
import { createHash } from 'node:crypto'
import { createGuest } from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../src/administration.ts'
import { claimsOf } from '../src/handshake.ts'
import { type Ended, type Program, runKbsctl } from '../src/program.ts'
import {
  publishedKeysOf,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const hash = (text: string) => createHash('sha384').update(text).digest('hex')

describe.skipIf(!redisAvailable())('the policy workbench', () => {
  let trustee1: Trustee1
  let trustee2: Trustee2
  let replica: Program

  beforeAll(async () => {
    trustee1 = await startTrustee1()
    trustee2 = await startTrustee2(publishedKeysOf(trustee1.kbs))
    replica = await trustee2.organisation.start('kbs-resource', trustee2.config)
    await trustee2.organisation.write('admin-token', await trustee2.organisation.admin.token())
    await trustee1.organisation.write('admin-token', await trustee1.organisation.admin.token())
  }, 60_000)
  afterAll(async () => {
    await trustee2?.organisation.close()
    await trustee1?.organisation.close()
  })

  /** `kbsctl policy …` in the folder of an organisation, against its server. */
  const policy = ({ organisation, kbs }: Trustee1 | Trustee2, ...args: string[]): Promise<Ended> =>
    runKbsctl(['--url', kbs.url, 'policy', ...args, '--admin-token-file', 'admin-token'], {
      cwd: organisation.folder,
    })

  it('shows who set which resource policy when, and goes back to one; a replica follows', async () => {
    await trustee2.administration.setResourcePolicy(presets.affirming)
    await trustee2.administration.setResourcePolicy(presets.allowAll)
    const { stdout } = await policy(trustee2, 'history')
    const lines = stdout.trim().split('\n')
    expect(lines[0]).toMatch(new RegExp(`^\\* ${hash(presets.allowAll)} \\S+ set by `))
    expect(lines[1]).toMatch(new RegExp(`^ {2}${hash(presets.affirming)} \\S+ set by `))
    expect(lines[2]).toMatch(/ found$/)

    const back = await policy(trustee2, 'rollback', hash(presets.affirming))
    expect(back).toMatchObject({ code: 0, stdout: `in force: ${hash(presets.affirming)}\n` })
    const active = await policy(trustee2, 'get')
    expect(active).toMatchObject({ code: 0, stdout: presets.affirming })
    expect(active.stderr).toContain(hash(presets.affirming))
    const atReplica = await runKbsctl(
      ['--url', replica.url, 'policy', 'get', '--admin-token-file', 'admin-token'],
      { cwd: trustee2.organisation.folder },
    )
    expect(atReplica.stdout).toBe(presets.affirming)
  })

  it('puts the hash of every change into the audit trail, and of every policy that is loaded into the log', async () => {
    const audited = await trustee2.kbs.logged(
      ({ audit, event, policySha384 }) =>
        audit === true && event === 'resource-policy-rollback' && policySha384 === hash(presets.affirming),
    )
    expect(audited).toMatchObject({ decision: 'allowed', subject: expect.any(String) })
    await fetch(`${replica.url}/kbs/v0/resource/a/b/c`)
    const passport = await createGuest({
      kbsUrl: trustee1.kbs.url,
      attester: virtualTees.sample().attester,
    }).attestOnce()
    await fetch(`${replica.url}/kbs/v0/resource/a/b/c`, {
      headers: { authorization: `Bearer ${passport.token}` },
    })
    await replica.logged(
      ({ msg, policySha384 }) => msg === 'resource policy loaded' && policySha384 === hash(presets.affirming),
    )
  })

  it('of an attestation policy leads to the hash in the token', async () => {
    const shipped = await policy(trustee1, 'get', '--attestation')
    const changed = `${shipped.stdout}\n# changed\n`
    await trustee1.administration.setAttestationPolicy('default_cpu', changed)
    const guest = createGuest({ kbsUrl: trustee1.kbs.url, attester: virtualTees.sample().attester })
    const applied = ({ token }: { token: string }) =>
      (claimsOf(token) as { submods: { cpu0: Record<string, { sha384: string }> } }).submods.cpu0[
        'ear.passport-kbs.policy'
      ]?.sha384
    expect(applied(await guest.attestOnce())).toBe(hash(changed))
    expect((await policy(trustee1, 'rollback', '--attestation', hash(shipped.stdout))).code).toBe(0)
    expect(applied(await guest.attestOnce())).toBe(hash(shipped.stdout))
  })

  it('tells of a real token what a new policy would change, and why', async () => {
    const guest = createGuest({ kbsUrl: trustee1.kbs.url, attester: virtualTees.snp().attester })
    const { token } = await guest.attestOnce()
    const { organisation } = trustee2
    await organisation.write('guest.jwt', token)
    await organisation.write('open.rego', presets.allowAll)
    const diff = await policy(trustee2, 'diff', 'open.rego', 'guest.jwt', '--active')
    expect(diff.code).toBe(1)
    expect(diff.stdout).toContain('  - denied (data.policy.allow is false)\n  + allowed\n')

    await organisation.write('closed.rego', presets.affirming)
    const evaluated = await policy(trustee2, 'eval', 'closed.rego', '--input', 'guest.jwt')
    expect(evaluated.code).toBe(1)
    expect(evaluated.stdout).toMatch(/failed +\d+: count\(affirming_submods\) == count\(input\.submods\)/)
    const { submods } = claimsOf(token) as {
      submods: { cpu0: Record<string, { snp: { measurement: string } }> }
    }
    const { measurement } = submods.cpu0['ear.veraison.annotated-evidence']?.snp ?? { measurement: '?' }
    expect(evaluated.stdout + diff.stdout).not.toContain(measurement)
  })

  it('is closed to the administrators of others', async () => {
    const { url } = trustee2.kbs
    const stranger = administer(url, trustee1.organisation.admin)
    for (const path of ['resource-policy/resource-policy', 'resource-policy/resource-policy/history'])
      expect((await stranger.request('GET', path)).status).toBe(401)
    const body = JSON.stringify({ sha384: hash(presets.allowAll) })
    expect((await stranger.request('POST', 'resource-policy/resource-policy/rollback', body)).status).toBe(
      401,
    )
    expect((await policy(trustee2, 'get')).stdout).toBe(presets.affirming)
  })
})
