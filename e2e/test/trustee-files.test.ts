import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { createGuest, sampleAttester } from '@passport-kbs/guest-client'
import { exportTeePrivateKeyPem, generateTeeKeyPair } from '@passport-kbs/protocol'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeTokenIdentity, type TokenIdentity } from '../src/certificates.ts'
import { attestationBody, claimsOf, postAttestation, requestChallenge } from '../src/handshake.ts'
import { createOrganisation, type Organisation } from '../src/organisation.ts'
import { type Program, runKbsctl } from '../src/program.ts'
import {
  allInOne,
  operatorCpuPolicy,
  quickStartKbs1,
  quickStartKbs2,
  referenceValueRecord,
  signerTable,
  type TrusteePolicy,
  trusteePolicies,
} from '../src/trustee-files.ts'

/** The quick start's token key answers for sample evidence, which only this profile accepts. Nothing else is set. */
const env = { KBS_PROFILE: 'development' }
const onFreePort = (toml: string, port: number) => toml.replace(`127.0.0.1:${port}`, '127.0.0.1:0')

const newAdmin = () => generateKeyPairSync('ed25519')
const publicPem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString()

/** An admin JWT as Trustee's set-up makes it (spec 01 §6.2). */
const adminToken = (key: KeyObject, claims: Record<string, unknown> = {}) => {
  const iat = Math.floor(Date.now() / 1000)
  return new SignJWT({
    ...{ iss: 'issuer', sub: 'admin', aud: ['kbs'], role: 'admin', iat, exp: iat + 315_360_000 },
    ...claims,
  })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
    .sign(key)
}

const base64url = (text: string) => Buffer.from(text).toString('base64url')

/** The token key's organisation may say anything in a passport: claims of guests that are hard to come by. */
const passportWith = (signer: TokenIdentity, submods: object | undefined) => {
  const { kty, crv, x, y } = signer.key.export({ format: 'jwk' })
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({
    ...{ iss: 'CoCo-Attestation-Service', iat: now, nbf: now, exp: now + 300 },
    'tee-pubkey': generateTeeKeyPair().publicKey.jwk,
    ...(submods === undefined ? {} : { submods }),
  })
    .setProtectedHeader({
      typ: 'JWT',
      alg: 'ES256',
      jwk: { ...{ kty, crv, x, y, alg: 'ES256' }, x5c: [...signer.x5c] } as never,
    })
    .sign(signer.key)
}

describe('the passport mode quick start of Trustee, its files unchanged but for the ports', () => {
  const secret = randomBytes(333)
  const admin = newAdmin()
  const signer = makeTokenIdentity('quick start')
  let organisation1: Organisation
  let organisation2: Organisation
  let kbs1: Program
  let kbs2: Program

  beforeAll(async () => {
    organisation1 = await createOrganisation('quick-start-1')
    await organisation1.write('work/ca-cert.pem', signer.ca.pem)
    await organisation1.write('work/token.key', signer.keyPem)
    await organisation1.write('work/token-cert-chain.pem', signer.chainPem)
    organisation2 = await createOrganisation('quick-start-2')
    await organisation2.write('work/ca-cert.pem', signer.ca.pem)
    await organisation2.write('work/kbs.pem', publicPem(admin.publicKey))
    await organisation2.write('work/storage/repository/one\\x2Ftwo\\x2Fthree', secret)
    await organisation2.write('work/storage/kbs/resource-policy.rego', trusteePolicies.default)
    await organisation2.write('admin-token', `${await adminToken(admin.privateKey)}\n`)
    kbs1 = await organisation1.start('kbs-attest', onFreePort(quickStartKbs1, 50_001), { env })
    kbs2 = await organisation2.start('kbs-resource', onFreePort(quickStartKbs2, 50_002), { env })
  }, 60_000)
  afterAll(async () => {
    await organisation2?.close()
    await organisation1?.close()
  })

  const kbsctl = async (...args: string[]) => {
    const ended = await runKbsctl(args, { cwd: organisation2.folder })
    return { ...ended, text: ended.stdout + ended.stderr }
  }
  /** The quick start's steps 2 and 3. */
  const getResource = async (path: string) => {
    const attest = await kbsctl('--url', kbs1.url, 'attest', '--tee-key-file', 'tee.pem')
    expect(attest.code, attest.stderr).toBe(0)
    await organisation2.write('token', attest.stdout)
    const passport = ['--attestation-token', 'token', '--tee-key-file', 'tee.pem']
    return kbsctl('--url', kbs2.url, 'get-resource', '--path', path, ...passport)
  }
  const config = (...args: string[]) =>
    kbsctl('--url', kbs2.url, 'config', '--admin-token-file', 'admin-token', ...args)

  it('refuses sample evidence under the policy file that is there, which no start replaces', async () => {
    await organisation2.write('tee.pem', exportTeePrivateKeyPem(generateTeeKeyPair('RSA-OAEP-256')))
    const { code, text } = await getResource('one/two/three')
    expect(code).toBe(1)
    expect(text).toContain('request unauthorized')
    expect(await readFile(organisation2.path('work/storage/kbs/resource-policy.rego'), 'utf8')).toBe(
      trusteePolicies.default,
    )
  })

  it('releases the file that was dropped, byte for byte, once the policy accepts sample evidence', async () => {
    expect((await config('set-resource-policy', '--allow-all')).code).toBe(0)
    for (const kind of ['RSA-OAEP-256', 'ECDH-ES+A256KW-P256', 'ECDH-ES+A256KW-P521'] as const) {
      await organisation2.write('tee.pem', exportTeePrivateKeyPem(generateTeeKeyPair(kind)))
      const { stdout } = await getResource('one/two/three')
      expect(Buffer.from(stdout, 'base64')).toEqual(secret)
    }
  }, 30_000)

  it('writes resources and the policy where Trustee would', async () => {
    await organisation2.write('new-secret', 'new')
    await config('set-resource', '--path', 'a_b/c-d/e.f', '--resource-file', 'new-secret')
    const stored = organisation2.path('work/storage/repository')
    expect((await readdir(stored)).sort()).toEqual(['a_b\\x2Fc-d\\x2Fe.f', 'one\\x2Ftwo\\x2Fthree'])
    expect(await readFile(`${stored}/a_b\\x2Fc-d\\x2Fe.f`, 'utf8')).toBe('new')
    expect((await getResource('a_b/c-d/e.f')).stdout).toBe(`${Buffer.from('new').toString('base64')}\n`)
    expect(await readFile(organisation2.path('work/storage/kbs/resource-policy.rego'), 'utf8')).toContain(
      'allow if data.plugin == "resource"',
    )
  })

  it('serves what operators put into the folders while it runs: a secret at once, a policy within two seconds', async () => {
    await organisation2.write('work/storage/repository/one\\x2Ftwo\\x2Ffour', 'dropped')
    expect((await getResource('one/two/four')).stdout).toBe(`${Buffer.from('dropped').toString('base64')}\n`)
    await organisation2.write('work/storage/kbs/resource-policy.rego', trusteePolicies['deny-all'])
    await delay(1_500)
    expect((await getResource('one/two/four')).code).toBe(1)
  })

  describe('policies mean what they mean to Trustee', () => {
    const affirming = { 'ear.status': 'affirming' }
    const contraindicated = { 'ear.status': 'contraindicated' }
    const annotated = 'ear.veraison.annotated-evidence'
    const executables = { 'ear.trustworthiness-vector': { executables: 3 } }
    const guests = {
      'real and affirming': { cpu0: { ...affirming, ...executables, [annotated]: { snp: {} } } },
      'real and contraindicated': { cpu0: { ...contraindicated, [annotated]: { snp: {} } } },
      sample: { cpu0: { ...affirming, [annotated]: { sample: { svn: '1' } } } },
      'real with a sample device': {
        cpu0: { ...affirming, [annotated]: { tdx: {} } },
        gpu0: { ...contraindicated, [annotated]: { sampledevice: {} } },
      },
      'without any status': { cpu0: { [annotated]: { snp: {} } } },
      'device only': { gpu0: affirming },
      'without submods': undefined,
    } as const
    type Guest = keyof typeof guests
    const released: Readonly<Record<TrusteePolicy, readonly Guest[]>> = {
      default: [
        ...(['real and affirming', 'real and contraindicated', 'real with a sample device'] as const),
        ...(['without any status', 'device only', 'without submods'] as const),
      ],
      'allow-all': Object.keys(guests) as Guest[],
      'deny-all': [],
      affirming: ['real and affirming', 'sample', 'without any status', 'device only'],
      strict: ['real and affirming', 'sample'],
      'in the older style': ['real and affirming'],
    }

    it.each(Object.keys(trusteePolicies) as TrusteePolicy[])('%s', async (name) => {
      const answer = await fetch(`${kbs2.url}/kbs/v0/resource-policy`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await adminToken(admin.privateKey)}` },
        body: JSON.stringify({ policy: base64url(trusteePolicies[name]) }),
      })
      expect(answer.status, await answer.text()).toBe(200)
      const seen: string[] = []
      for (const [guest, submods] of Object.entries(guests)) {
        const authorization = `Bearer ${await passportWith(signer, submods)}`
        const read = await fetch(`${kbs2.url}/kbs/v0/resource/one/two/three`, { headers: { authorization } })
        const body = (await read.json()) as { readonly detail?: string }
        if (read.status === 200) seen.push(guest)
        else expect([read.status, body.detail]).toEqual([401, 'Access denied by policy'])
      }
      expect(seen.sort()).toEqual([...released[name]].sort())
    })

    it('see path and query of the request', async () => {
      const authorization = `Bearer ${await passportWith(signer, guests['real and affirming'])}`
      const status = async (target: string) =>
        (await fetch(`${kbs2.url}/kbs/v0/resource/${target}`, { headers: { authorization } })).status
      expect(await status('one/two/three')).toBe(200)
      expect(await status('one/two/three?other=1')).toBe(200)
      expect(await status('one/two/three?refuse=1')).toBe(401)
      expect(await status('a_b/c-d/e.f')).toBe(401)
    })
  })

  it('refuses every administrator at KBS1, in the words that scripts search for', async () => {
    const answer = await fetch(`${kbs1.url}/kbs/v0/attestation-policy`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await adminToken(admin.privateKey)}` },
      body: JSON.stringify({ type: 'rego', policy_id: 'default_cpu', policy: base64url('package policy') }),
    })
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({
      type: 'https://github.com/confidential-containers/kbs/errors/AdminAuthAccess',
      detail: expect.stringContaining('DenyAll authorization_mode is enabled'),
    })
  })

  it('mints tokens as Trustee does: header key with its chain, the usual issuer, the claims that policies read', async () => {
    const { token } = await createGuest({ kbsUrl: kbs1.url, attester: sampleAttester() }).attestOnce()
    expect(JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())).toMatchObject({
      alg: 'ES256',
      jwk: { kty: 'EC', crv: 'P-256', x5c: signer.x5c },
    })
    expect(claimsOf(token)).toMatchObject({
      iss: 'CoCo-Attestation-Service',
      eat_profile: 'tag:github.com,2024:confidential-containers/Trustee',
      submods: {
        cpu0: {
          'ear.status': 'contraindicated',
          'ear.appraisal-policy-id': 'default',
          'ear.trustee.identifiers': { validated: {} },
          'ear.veraison.annotated-evidence': {
            sample: { svn: '1' },
            runtime_data_claims: { 'tee-pubkey': { kty: 'EC' } },
          },
        },
      },
    })
  })
})

describe('an all-in-one configuration of Trustee with its folder', () => {
  const admin = newAdmin()
  let organisation: Organisation
  let kbs: Program

  beforeAll(async () => {
    organisation = await createOrganisation('all-in-one')
    await organisation.write('work/kbs.pem', publicPem(admin.publicKey))
    await organisation.write('work/storage/repository/default\\x2Ftest\\x2Fkey', 'kept by Trustee')
    await organisation.write('work/storage/kbs/resource-policy.rego', trusteePolicies.affirming)
    await organisation.write('work/storage/attestation_service_policy/default_cpu.rego', operatorCpuPolicy)
    await organisation.write(
      'work/storage/reference_value/operator_svn',
      referenceValueRecord('operator_svn', ['1']),
    )
    kbs = await organisation.start('kbs', onFreePort(allInOne, 8080), { env })
  }, 60_000)
  afterAll(() => organisation?.close())

  /** One request of `kbs-client`, and the answer as it came. */
  const send = async (
    method: string,
    path: string,
    options: { body?: string; type?: string; role?: string } = {},
  ) => {
    const { body, type = 'application/json', role = 'admin' } = options
    const answer = await fetch(`${kbs.url}/kbs/v0/${path}`, {
      method,
      headers: {
        'user-agent': 'kbs-client/0.1.0',
        'content-type': type,
        authorization: `Bearer ${await adminToken(admin.privateKey, { role })}`,
      },
      ...(body === undefined ? {} : { body }),
    })
    return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
  }
  const guest = () => createGuest({ kbsUrl: kbs.url, attester: sampleAttester() })
  const resource = async (path = 'default/test/key') =>
    new TextDecoder().decode(await guest().getResource(path))

  it('appraises by the policy and the reference values that are there, and releases the secret', async () => {
    expect(await resource()).toBe('kept by Trustee')
    const folder = organisation.path('work/storage/attestation_service_policy')
    expect(await readFile(`${folder}/default_cpu.rego`, 'utf8')).toBe(operatorCpuPolicy)
    expect((await readdir(folder)).sort()).toEqual([
      ...['default_cpu.rego', 'default_gpu.rego', 'default_ppcie.rego', 'default_switch.rego'],
    ])
  })

  it('warns of keys that mean nothing here, and starts', () => {
    const warnings = kbs.log().filter(({ level }) => level === 'warn')
    expect(warnings.map(({ msg }) => String(msg))).toEqual(
      expect.arrayContaining([
        expect.stringContaining('attestation_service.work_dir'),
        expect.stringContaining('attestation_token_broker.type'),
        expect.stringContaining('worker_count'),
      ]),
    )
  })

  it('keeps sessions in the folder where that is asked for; with a key that is kept, none is lost in a restart', async () => {
    await organisation.write('work/token.key', makeTokenIdentity('all-in-one').keyPem)
    const start = () => organisation.start('kbs', onFreePort(allInOne, 8080) + signerTable, { env })
    const first = await start()
    const { cookie, nonce } = await requestChallenge(first.url, 'sample')
    const folder = organisation.path('work/storage/kbs_protocol_session')
    const files = await readdir(folder)
    expect(files.length).toBeGreaterThan(0)
    // whoever reads the folder cannot take over a session
    const id = cookie.slice('kbs-session-id='.length)
    expect(files).not.toContain(id)
    for (const file of files) expect(await readFile(`${folder}/${file}`, 'latin1')).not.toContain(id)
    await first.kill()

    const second = await start()
    const body = await attestationBody(sampleAttester(), nonce)
    const { status, text } = await postAttestation(second.url, cookie, body)
    expect(status, text).toBe(200)
    await second.stop()
  }, 30_000)

  describe('answers kbs-client', () => {
    const empty = { status: 200, text: '' }

    it('config get-reference-value', async () => {
      expect(await send('GET', 'reference-value/operator_svn')).toEqual({
        status: 200,
        type: 'application/json',
        text: '["1"]',
      })
      expect(await send('GET', 'reference-value/unknown')).toMatchObject({
        status: 404,
        text: expect.stringContaining('/errors/RvpsError"'),
      })
    })

    it('config set-sample-reference-value', async () => {
      const post = (payload: string) =>
        send('POST', 'reference-value', {
          body: `{"payload":"${Buffer.from(payload).toString('base64')}","type":"sample","version":"0.1.0"}`,
        })
      expect(await post('{"operator_svn":["2"]}')).toMatchObject({ ...empty, type: 'application/json' })
      expect((await send('GET', 'reference-value/operator_svn')).text).toBe('["2"]')
      const file = organisation.path('work/storage/reference_value/operator_svn')
      expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
        version: '0.1.0',
        name: 'operator_svn',
        expiration: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}.*Z$/),
        value: ['2'],
      })
      await expect(resource()).rejects.toMatchObject({ code: 'unauthorized' })

      await post('{"a":7,"b":true,"c/d":"single"}')
      for (const [id, text] of [
        ['a', '7'],
        ['b', 'true'],
        ['c/d', '"single"'],
      ])
        expect((await send('GET', `reference-value/${id}`)).text).toBe(text)
      await post('{"operator_svn":["1","2"]}')
      expect(await resource()).toBe('kept by Trustee')
    })

    it('config set-resource, delete-resource', async () => {
      const type = 'application/octet-stream'
      expect(await send('POST', 'resource/default/new/key', { body: 'new', type })).toEqual({
        ...empty,
        type: 'text/xml',
      })
      expect(await resource('default/new/key')).toBe('new')
      expect(await send('POST', 'resource/default/new/key', { body: 'newer', type })).toMatchObject(empty)
      expect(await resource('default/new/key')).toBe('newer')
      expect(await send('DELETE', 'resource/default/new/key')).toEqual({ ...empty, type: 'text/xml' })
      await expect(resource('default/new/key')).rejects.toMatchObject({ code: 'resource-not-found' })
      expect(await send('DELETE', 'resource/default/new/key')).toMatchObject({
        status: 404,
        text: expect.stringContaining('/errors/PluginInternalError"'),
      })
    })

    it('config set-attestation-policy, with ids that it looks up and the one that nothing looks up', async () => {
      const post = (id: string, rego: string) =>
        send('POST', 'attestation-policy', {
          body: `{"type":"rego","policy_id":"${id}","policy":"${base64url(rego)}"}`,
        })
      expect(await post('default', operatorCpuPolicy)).toMatchObject(empty)
      const recognisesNothing = operatorCpuPolicy.replace('executables := 3 if', 'executables := 33 if')
      expect(await post('default_cpu', recognisesNothing)).toMatchObject(empty)
      await expect(resource()).rejects.toMatchObject({ code: 'unauthorized' })
      expect(await post('default_cpu', operatorCpuPolicy)).toMatchObject(empty)
      expect(await resource()).toBe('kept by Trustee')
    })

    it('config set-resource-policy', async () => {
      const post = (rego: string) =>
        send('POST', 'resource-policy', { body: `{"policy":"${base64url(rego)}"}` })
      expect(await post(trusteePolicies['deny-all'])).toMatchObject(empty)
      await expect(resource()).rejects.toMatchObject({ code: 'unauthorized' })
      expect(await post('package policy\n\nallow if {')).toMatchObject({
        status: 400,
        text: expect.stringContaining('/errors/PolicyEngineError"'),
      })
      expect(await post(trusteePolicies.affirming)).toMatchObject(empty)
      expect(await resource()).toBe('kept by Trustee')
      expect(await send('GET', 'resource-policy')).toEqual({
        status: 200,
        type: 'application/json',
        text: '["resource-policy"]',
      })
    })
  })

  describe('says what existing tests and scripts search for', () => {
    it('KBS Client Protocol Version Mismatch', async () => {
      const answer = await fetch(`${kbs.url}/kbs/v0/auth`, {
        method: 'POST',
        body: '{"version":"0.1.1","tee":"sample","extra-params":""}',
      })
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({
        type: 'https://github.com/confidential-containers/kbs/errors/AttestationError',
        detail:
          'Attestation error: RCAR handshake Auth failed: KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is 0.1.1',
      })
    })

    it('Cannot verify token with any of the issuers', async () => {
      const authorization = `Bearer ${await adminToken(newAdmin().privateKey)}`
      const answer = await fetch(`${kbs.url}/kbs/v0/resource/a/b/c`, {
        method: 'POST',
        headers: { authorization },
      })
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({
        type: 'https://github.com/confidential-containers/kbs/errors/AdminAuthInitialization',
        detail:
          'failed to initialize [admin] configuration: Admin access denied: Cannot verify token with any of the issuers',
      })
    })

    it('Role … not allowed', async () => {
      const refused = await send('POST', 'resource-policy', { role: 'secrets', body: '{"policy":""}' })
      expect(refused.status).toBe(401)
      expect(JSON.parse(refused.text).detail).toBe(
        'admin access denied for endpoint resource-policy: Admin access denied: Role secrets not allowed for path /kbs/v0/resource-policy',
      )
      expect((await send('POST', 'resource/a/b/c', { role: 'secrets', body: 'x' })).status).toBe(200)
    })

    it('Failed to parse HTTP Auth Bearer header', async () => {
      const answer = await fetch(`${kbs.url}/kbs/v0/reference-value/a`)
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({
        detail: 'admin access denied for endpoint reference-value: Failed to parse HTTP Auth Bearer header',
      })
    })

    it('request unauthorized, which the client makes of a 401 of the policy', async () => {
      await send('POST', 'resource-policy', {
        body: `{"policy":"${base64url(trusteePolicies['deny-all'])}"}`,
      })
      const { code, stderr } = await runKbsctl([
        '--url',
        kbs.url,
        'get-resource',
        '--path',
        'default/test/key',
      ])
      expect(code).toBe(1)
      expect(stderr).toContain('request unauthorized')
    })

    it('Plugin … not found', async () => {
      const answer = await fetch(`${kbs.url}/kbs/v0/nebula-ca/credential`)
      expect(answer.status).toBe(404)
      expect(await answer.json()).toMatchObject({
        type: 'https://github.com/confidential-containers/kbs/errors/PluginNotFound',
        detail: 'Plugin nebula-ca not found',
      })
    })
  })
})
