import { generateTeeKeyPair } from '@passport-kbs/protocol'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attestationBody, claimsOf, postAttestation, requestChallenge } from '../src/handshake.ts'
import type { Program } from '../src/program.ts'
import { startTrustee1, type Trustee1 } from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const requests = 100

describe.skipIf(!redisAvailable())('one hundred parallel /attest on one session', () => {
  let trustee: Trustee1
  let replicas: readonly Program[]
  const tee = virtualTees['az-snp-vtpm']()

  beforeAll(async () => {
    trustee = await startTrustee1()
    replicas = [trustee.kbs, await trustee.organisation.start('kbs-attest', trustee.config)]
  }, 60_000)
  afterAll(() => trustee?.organisation.close())

  const urlOf = (index: number) => replicas[index % replicas.length]?.url ?? ''
  const open = () => requestChallenge(urlOf(0), 'az-snp-vtpm')
  const all = <T>(make: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: requests }, (_, index) => make(index)))
  /** `jti` of all passports that were minted so far, according to the audit trails of both replicas. */
  const minted = () =>
    replicas.flatMap((replica) =>
      replica
        .log()
        .filter(({ event, decision }) => event === 'attestation' && decision === 'allowed')
        .map(({ jti }) => jti),
    )

  it('mints one passport, for two replicas and the same attestation sent a hundred times', async () => {
    const before = minted()
    const { cookie, nonce } = await open()
    const body = await attestationBody(tee.attester, nonce)
    const answers = await all((index) => postAttestation(urlOf(index), cookie, body))

    const tokens = answers.flatMap(({ token }) => (token === undefined ? [] : [token]))
    expect(new Set(tokens.map((token) => claimsOf(token).jti)).size).toBe(1)
    expect(new Set(tokens).size).toBe(1)
    expect(new Set(answers.map(({ status }) => status))).toSatisfy(only(200, 401))
    expect(minted().filter((jti) => !before.includes(jti))).toEqual([claimsOf(tokens[0] ?? '').jti])
  })

  it('mints one passport, for a hundred attestations with a hundred keys', async () => {
    const before = minted()
    const { cookie, nonce } = await open()
    const bodies = await all(() => attestationBody(tee.attester, nonce, generateTeeKeyPair()))
    const answers = await all((index) => postAttestation(urlOf(index), cookie, bodies[index] ?? ''))

    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(requests - 1)
    for (const { status, text } of answers) {
      if (status === 401)
        expect(JSON.parse(text)).toMatchObject({
          type: 'https://github.com/confidential-containers/kbs/errors/AttestationError',
          detail: 'Attestation error: RCAR handshake Attest failed',
        })
    }
    expect(minted().filter((jti) => !before.includes(jti))).toHaveLength(1)
  })

  it('gives the same passport again for the same attestation, and for no other', async () => {
    const { cookie, nonce } = await open()
    const body = await attestationBody(tee.attester, nonce)
    const first = await postAttestation(urlOf(0), cookie, body)
    expect(first.status).toBe(200)
    expect((await postAttestation(urlOf(1), cookie, body)).token).toBe(first.token)

    const other = await attestationBody(tee.attester, nonce)
    expect((await postAttestation(urlOf(1), cookie, other)).status).toBe(401)
  })

  it('refuses a nonce of another session, though the evidence for it is good', async () => {
    const { cookie, nonce } = await open()
    const body = await attestationBody(tee.attester, nonce)
    expect((await postAttestation(urlOf(0), cookie, body)).status).toBe(200)
    const another = await open()
    const replay = await postAttestation(urlOf(1), another.cookie, body)
    expect(replay.status).toBe(401)
    expect(JSON.parse(replay.text)).toMatchObject({ reason: 'the nonce is not the one of this session' })
  })

  it('spends the nonce on evidence that is refused: good evidence afterwards comes too late', async () => {
    const { cookie, nonce } = await open()
    const forged = { ...tee.attester, evidence: () => tee.attester.evidence(new Uint8Array(48)) }
    const refused = await postAttestation(urlOf(0), cookie, await attestationBody(forged, nonce))
    expect(refused.status).toBe(401)
    const late = await postAttestation(urlOf(1), cookie, await attestationBody(tee.attester, nonce))
    expect(late.status).toBe(401)
    expect(JSON.parse(late.text)).toMatchObject({
      reason: 'the nonce has been used; start again with /auth',
    })
  })
})

const only =
  (...allowed: readonly number[]) =>
  (seen: ReadonlySet<number>) =>
    [...seen].every((status) => allowed.includes(status))
