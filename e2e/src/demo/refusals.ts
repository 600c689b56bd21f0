import { createGuest, GuestError, getResourceWithPassport, type Passport } from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import {
  attestRequestBody,
  authRequestBody,
  generateTeeKeyPair,
  isJsonObject,
  parseChallenge,
  parseErrorInformation,
  parseJson,
  primaryRuntimeData,
  runtimeDataDigest,
  stringifyJson,
} from '@passport-kbs/protocol'
import { administratorOf } from './admin.ts'
import { DemoFailure, type Narrator } from './narrator.ts'
import { openTrustee2, type Trustee } from './organisations.ts'
import { attesterOf, type Scene, secretPath } from './passport-flow.ts'

/** One PCR value is changed after the vTPM has signed. */
export async function refuseTamperedEvidence(narrator: Narrator, { trustee1, vm }: Scene): Promise<void> {
  narrator.step('Tampered evidence: a guest changes one PCR value after the vTPM has signed')
  const attester = {
    tee: 'az-snp-vtpm',
    async evidence(reportData: Uint8Array) {
      const evidence = await attesterOf(vm).evidence(reportData)
      const quote = evidence.tpm_quote
      if (isJsonObject(quote) && Array.isArray(quote.pcrs)) quote.pcrs[11] = 'ff'.repeat(32)
      return evidence
    },
  }
  const refusal = await refusalOf(() => createGuest({ kbsUrl: trustee1.url, attester }).attestOnce())
  expectAnswer(refusal, 401, 'AttestationError')
  const reason = auditReasonOf(trustee1)
  narrator.refused('401 AttestationError', refusal.detail)
  narrator.check(
    reason.includes('PCR_DIGEST_MISMATCH'),
    `the operator reads the failed check in the log: ${reason}`,
  )
}

/** The nonce of a session is used a second time, with other content. */
export async function refuseReplayedNonce(narrator: Narrator, { trustee1, vm }: Scene): Promise<void> {
  narrator.step('A replayed nonce: evidence for a nonce that has been used')
  const first = await attestByHand(trustee1, vm, undefined)
  if (first.status !== 200) throw new DemoFailure('the first use of a nonce is accepted')
  const second = await attestByHand(trustee1, vm, first)
  const problem = parseErrorInformation(parseJson(second.body))
  if (second.status !== 401) throw new DemoFailure(`a replayed nonce is answered with ${second.status}`)
  narrator.refused('401 AttestationError for another key in the same session', problem.detail)
}

/** A passport for Trustee 2 is of no use to a Trustee 3 that trusts the same issuer. */
export async function refuseForeignAudience(
  narrator: Narrator,
  scene: Scene,
  passport: Passport,
  open: Trustee[],
): Promise<void> {
  narrator.step('A wrong audience: Trustee 3 trusts the same issuer, but the passport names Trustee 2')
  const keys = await (await fetch(`${scene.trustee1.url}/.well-known/jwks.json`)).text()
  const trustee3 = await openTrustee2(keys, 'trustee-3')
  open.push(trustee3)
  const refusal = await refusalOf(() => show(trustee3, passport))
  expectAnswer(refusal, 401, 'TokenVerifierError')
  narrator.refused('401 TokenVerifierError', refusal.detail)
  narrator.check(
    auditReasonOf(trustee3).includes('wrong-audience'),
    `the operator reads: ${auditReasonOf(trustee3)}`,
  )
}

/** The same passport, after the owner of the secret has changed her mind. */
export async function refuseByPolicy(narrator: Narrator, scene: Scene, passport: Passport): Promise<void> {
  narrator.step("A policy denial: Trustee 2's administrator sets deny-all; the passport is still valid")
  await administratorOf(scene.trustee2).setResourcePolicy(presets.denyAll)
  const refusal = await refusalOf(() => show(scene.trustee2, passport))
  expectAnswer(refusal, 401, 'PolicyDeny')
  narrator.refused('401 PolicyDeny', refusal.detail)
}

const show = (trustee: Trustee, passport: Passport) =>
  getResourceWithPassport({ kbsUrl: trustee.url, ...passport, path: secretPath })

interface Refusal {
  readonly status: number | undefined
  readonly type: string
  readonly detail: string
}

async function refusalOf(act: () => Promise<unknown>): Promise<Refusal> {
  try {
    await act()
  } catch (error) {
    if (!(error instanceof GuestError)) throw error
    return {
      status: error.status,
      type: error.information?.type ?? '',
      detail: error.information?.detail ?? '',
    }
  }
  throw new DemoFailure('a refusal was expected')
}

function expectAnswer(refusal: Refusal, status: number, kind: string): void {
  if (refusal.status === status && refusal.type.endsWith(`/${kind}`)) return
  throw new DemoFailure(`expected ${status} ${kind}, got ${refusal.status} ${refusal.type}`)
}

/** The reason on the newest audit record that is a refusal. */
function auditReasonOf(trustee: Trustee): string {
  const records = trustee
    .log()
    .split('\n')
    .filter((line) => line.includes('"audit":true'))
    .map((line) => JSON.parse(line) as { reason?: string })
  return records.findLast((record) => record.reason !== undefined)?.reason ?? ''
}

interface Exchange {
  readonly cookie: string
  readonly nonce: string
  readonly status: number
  readonly body: string
}

/** The handshake without a client, so that a nonce can be used again. */
async function attestByHand(
  { url }: Trustee,
  vm: Scene['vm'],
  again: Exchange | undefined,
): Promise<Exchange> {
  const { cookie, nonce } = again ?? (await challenge(url))
  const teePublicKeyJson = generateTeeKeyPair().publicKey.jwk
  const runtimeData = primaryRuntimeData({ nonce, teePublicKeyJson, additionalEvidence: '' })
  const primaryEvidence = await attesterOf(vm).evidence(runtimeDataDigest(runtimeData, 'sha384'))
  const body = stringifyJson(
    attestRequestBody({ nonce, teePublicKeyJson, primaryEvidence, additionalEvidence: '' }),
  )
  const answer = await fetch(`${url}/kbs/v0/attest`, { method: 'POST', headers: { cookie }, body })
  return { cookie, nonce, status: answer.status, body: await answer.text() }
}

async function challenge(url: string): Promise<{ cookie: string; nonce: string }> {
  const answer = await fetch(`${url}/kbs/v0/auth`, {
    method: 'POST',
    body: stringifyJson(authRequestBody('az-snp-vtpm')),
  })
  const { nonce } = parseChallenge(parseJson(await answer.text()))
  return { cookie: answer.headers.get('set-cookie')?.split(';')[0] ?? '', nonce }
}
