import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { type Attester, createGuest, type Fetch, getResourceWithPassport } from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import {
  exportTeePrivateKeyPem,
  generateTeeKeyPair,
  type JsonValue,
  stringifyJson,
} from '@passport-kbs/protocol'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attestationBody, postAttestation, requestChallenge } from '../src/handshake.ts'
import { Secrets } from '../src/leaks.ts'
import { type Ended, runKbsctl } from '../src/program.ts'
import {
  publishedKeysOf,
  startBackgroundCheck,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { type VirtualTee, virtualTeeNames, virtualTees } from '../src/virtual-tees.ts'

const path = 'default/test/key'

describe.skipIf(!redisAvailable())('at log level trace, over whole flows and their failures', () => {
  const secrets = new Secrets()
  const secret = randomBytes(256)
  const textSecret = `a secret in words ${crypto.randomUUID()}`
  const commands: Ended[] = []
  let trustee1: Trustee1
  let trustee2: Trustee2
  let both: Trustee2

  beforeAll(async () => {
    trustee1 = await startTrustee1()
    trustee2 = await startTrustee2(publishedKeysOf(trustee1.kbs))
    both = await startBackgroundCheck()
    secrets.addBytes('the secret', secret)
    secrets.add('the secret in words', textSecret)
    for (const { redis, organisation } of [trustee1, trustee2, both]) {
      secrets.add(`Redis password of ${organisation.name}`, redis.password)
      const pem = organisation.admin.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
      secrets.addPem(`key of the administrator of ${organisation.name}`, pem)
    }
    secrets.addPem('token key of trustee-1', trustee1.signer.keyPem)

    for (const { administration } of [trustee2, both]) {
      await administration.setResourcePolicy(presets.affirming)
      await administration.setResource(path, secret)
      await administration.setResource('default/test/text', textSecret)
    }
    for (const name of virtualTeeNames) await passportFlow(virtualTees[name]())
    for (const name of virtualTeeNames) await backgroundCheck(virtualTees[name]())
    await failingHandshakes()
    await failingReads()
    await failingAdministration()
    await commandLine()
    await withoutRedis()
  }, 120_000)
  afterAll(async () => {
    for (const trustee of [both, trustee2, trustee1]) await trustee?.organisation.close()
  })

  /** The attester, with what it says under the nonce remembered. */
  function watched({ attester }: VirtualTee): Attester {
    return {
      tee: attester.tee,
      async evidence(reportData) {
        const evidence = await attester.evidence(reportData)
        secrets.addBytes('report data', reportData)
        rememberEvidence(attester.tee, evidence)
        return evidence
      },
    }
  }

  /** Signatures, quotes and reports: everything in evidence that is long and of this nonce. */
  function rememberEvidence(tee: string, evidence: JsonValue) {
    const visit = (value: JsonValue, where: string) => {
      if (typeof value === 'string' && value.length > 60) secrets.add(where, value.slice(0, 64))
      else if (Array.isArray(value) && value.every((member) => typeof member === 'number')) {
        // not the many zero bytes of unused fields
        if (new Set(value).size > 8) {
          secrets.add(where, stringifyJson(value).slice(1, -1))
          secrets.add(
            where,
            Buffer.from(value as number[])
              .toString('hex')
              .slice(0, 64),
          )
        }
      } else if (typeof value === 'object' && value !== null) {
        for (const [name, member] of Object.entries(value)) visit(member as JsonValue, `${where}.${name}`)
      }
    }
    visit(evidence, `evidence of ${tee}`)
  }

  /** `fetch`, with every cookie and token that passes remembered. */
  const watchedFetch: Fetch = async (url, init) => {
    const answer = await fetch(url, init)
    for (const field of answer.headers.getSetCookie()) rememberCookie(field)
    if (url.endsWith('/attest') && answer.status === 200) {
      const { token } = (await answer.clone().json()) as { readonly token: string }
      secrets.addToken('a passport', token)
    }
    return answer
  }
  function rememberCookie(field: string) {
    secrets.add('a session id', field.split(/[=;]/)[1] ?? '')
  }
  const openSession = async (url: string, tee: string) => {
    const session = await requestChallenge(url, tee)
    rememberCookie(session.cookie)
    return session
  }
  const newTeeKey = () => {
    const key = generateTeeKeyPair()
    secrets.addPem('a TEE key', exportTeePrivateKeyPem(key))
    return key
  }
  const guestOf = (kbsUrl: string, tee: VirtualTee) =>
    createGuest({ kbsUrl, attester: watched(tee), fetch: watchedFetch, teeKey: newTeeKey() })

  async function passportFlow(tee: VirtualTee) {
    const guest = guestOf(trustee1.kbs.url, tee)
    const read = async () =>
      getResourceWithPassport({ kbsUrl: trustee2.kbs.url, ...(await guest.attestOnce()), path })
    await expect(read()).rejects.toMatchObject({ code: 'unauthorized' })
    await trustee1.administration.setReferenceValues(tee.referenceValues)
    expect(Buffer.from(await read())).toEqual(secret)
  }

  async function backgroundCheck(tee: VirtualTee) {
    const guest = guestOf(both.kbs.url, tee)
    await expect(guest.getResource(path)).rejects.toMatchObject({ code: 'unauthorized' })
    await both.administration.setReferenceValues(tee.referenceValues)
    expect(Buffer.from(await guestOf(both.kbs.url, tee).getResource(path))).toEqual(secret)
    await guestOf(both.kbs.url, tee).getResource('default/test/text')
  }

  async function failingHandshakes() {
    for (const { kbs } of [trustee1, both]) {
      for (const name of virtualTeeNames) {
        const attester = watched(virtualTees[name]())
        const { cookie, nonce } = await openSession(kbs.url, name)
        const otherNonce = await attestationBody(attester, Buffer.alloc(32, 7).toString('base64'))
        const forged = { ...attester, evidence: () => attester.evidence(randomBytes(48)) }
        const bodies = [
          otherNonce,
          otherNonce.slice(0, -20),
          otherNonce.replace('"EC"', '"XX"'),
          await attestationBody(forged, nonce),
        ]
        for (const body of bodies) {
          const { status } = await postAttestation(kbs.url, cookie, body)
          expect([400, 401]).toContain(status)
        }
        const wrongTee = await openSession(kbs.url, 'tdx')
        const answer = await postAttestation(
          kbs.url,
          wrongTee.cookie,
          await attestationBody(attester, wrongTee.nonce),
        )
        expect(answer.status).toBe(401)
        const unknown = `kbs-session-id=${randomBytes(16).toString('hex')}`
        rememberCookie(unknown)
        expect((await postAttestation(kbs.url, unknown, otherNonce)).status).toBe(401)
      }
    }
  }

  async function failingReads() {
    const { token } = await guestOf(trustee1.kbs.url, virtualTees.snp()).attestOnce()
    const [header, payload, signature = ''] = token.split('.')
    const swapped = [...signature].reverse().join('')
    secrets.add('a forged signature', swapped)
    const headers: Record<string, string>[] = [
      { authorization: `Bearer ${header}.${payload}.${swapped}` },
      { authorization: `Bearer ${token}${token}` },
      { authorization: `Basic ${token}` },
      { authorization: `Bearer ${token}`, cookie: `kbs-session-id=${token}` },
      { authorization: token },
      { cookie: `session=${token}` },
      { 'x-request-id': token, 'x-forwarded-for': token, authorization: `Bearer ${token}` },
    ]
    for (const { kbs } of [trustee2, both, trustee1]) {
      for (const fields of headers) {
        for (const target of [`resource/${path}`, 'resource/default/no/such', 'resource/../x', 'nonsense']) {
          const answer = await fetch(`${kbs.url}/kbs/v0/${target}`, { headers: fields })
          expect(answer.status).toBeGreaterThanOrEqual(400)
          await answer.arrayBuffer()
        }
      }
    }
  }

  async function failingAdministration() {
    const stranger = generateKeyPairSync('ed25519').privateKey
    secrets.addPem('key of a stranger', stranger.export({ format: 'pem', type: 'pkcs8' }).toString())
    for (const { administration, organisation, kbs } of [trustee2, both, trustee1]) {
      const good = await organisation.admin.token()
      const others = [
        await organisation.admin.token({ role: 'nobody' }),
        await organisation.admin.token({ exp: 1_000 }),
        await organisation.admin.token({ aud: 'elsewhere' }),
        `${good.slice(0, -8)}AAAAAAAA`,
      ]
      for (const token of [good, ...others]) secrets.addToken(`a token for ${organisation.name}`, token)
      for (const token of others) {
        for (const verb of ['resource-policy', `resource/${path}`, 'reference-value', 'attestation-policy']) {
          const answer = await fetch(`${kbs.url}/kbs/v0/${verb}`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}` },
            body: textSecret,
          })
          expect(answer.status).toBeGreaterThanOrEqual(400)
          await answer.arrayBuffer()
        }
      }
      for (const body of [
        textSecret,
        `{"policy":"${textSecret}"}`,
        JSON.stringify({ policy: secret.toString('base64url') }),
      ]) {
        await (await administration.request('POST', 'resource-policy', body)).arrayBuffer()
        await (await administration.request('POST', 'attestation-policy', body)).arrayBuffer()
        await (await administration.request('POST', 'reference-value', body)).arrayBuffer()
        await (await administration.request('POST', 'resource/a/b', body)).arrayBuffer()
        await (await administration.request('DELETE', 'resource/a/b/c')).arrayBuffer()
      }
    }
  }

  async function commandLine() {
    const { organisation, kbs } = trustee2
    const token = await organisation.admin.token()
    secrets.addToken('a token for kbsctl', token)
    const tokenFile = await organisation.write('admin-token', token)
    const secretFile = await organisation.write('secret', textSecret)
    const config = ['--url', kbs.url, 'config', '--admin-token-file']
    const set = [...config, tokenFile, 'set-resource', '--resource-file', secretFile, '--path']
    const teeKeyFile = await organisation.write('tee.pem', exportTeePrivateKeyPem(newTeeKey()))
    const guest = ['get-resource', '--path', path, '--tee-key-file', teeKeyFile]
    const badToken = await organisation.write('bad-token', `${token.slice(0, -8)}AAAAAAAA`)
    const passport = await guestOf(trustee1.kbs.url, virtualTees.sample()).attestOnce()
    const passportFile = await organisation.write('passport', passport.token)
    commands.push(
      await runKbsctl([...set, 'not-a-path']),
      await runKbsctl([...config, badToken, 'delete-resource', '--path', path]),
      await runKbsctl([...config, tokenFile, 'set-resource-policy', '--policy-file', secretFile]),
      await runKbsctl(['--url', kbs.url, ...guest, '--attestation-token', passportFile]),
      await runKbsctl(['--url', 'http://127.0.0.1:1', ...guest, '--attestation-token', passportFile]),
      // the wrong files
      await runKbsctl(['--url', kbs.url, ...guest, '--attestation-token', teeKeyFile]),
      await runKbsctl([...config, teeKeyFile, 'delete-resource', '--path', path]),
      await runKbsctl(['--url', kbs.url, 'get-resource', '--path', path, '--tee-key-file', tokenFile]),
    )
    for (const { code, stderr } of commands) expect(code, stderr).toBe(1)
  }

  async function withoutRedis() {
    const { cookie, nonce } = await openSession(both.kbs.url, 'sample')
    const body = await attestationBody(watched(virtualTees.sample()), nonce)
    const { token } = await guestOf(both.kbs.url, virtualTees.sample()).attestOnce()
    await both.redis.server.kill()
    expect((await postAttestation(both.kbs.url, cookie, body)).status).toBe(503)
    const headers = { authorization: `Bearer ${token}`, cookie }
    expect((await fetch(`${both.kbs.url}/kbs/v0/resource/${path}`, { headers })).status).toBe(503)
    expect((await both.administration.request('POST', `resource/${path}`, textSecret)).status).toBe(503)
  }

  it('has gone through enough to be worth looking', () => {
    expect(secrets.size).toBeGreaterThan(300)
    for (const { kbs } of [trustee1, trustee2, both]) expect(kbs.log().length).toBeGreaterThan(50)
    // were the level not trace, there would be nothing to find
    expect(both.kbs.log().some(({ level }) => level === 'warn' || level === 'error')).toBe(true)
  })

  it('finds what it looks for where it is', () => {
    expect(secrets.foundIn(`"secret":"${secret.toString('base64')}"`)).toEqual(['the secret in base64'])
  })

  it.each(['kbs-attest', 'kbs-resource', 'kbs'] as const)('%s writes nothing that is secret', (program) => {
    const { kbs } = { 'kbs-attest': trustee1, 'kbs-resource': trustee2, kbs: both }[program]
    expect(secrets.foundIn(kbs.output())).toEqual([])
  })

  it('kbsctl writes nothing that is secret where it fails', () => {
    for (const { stdout, stderr } of commands) expect(secrets.foundIn(stdout + stderr)).toEqual([])
  })
})
