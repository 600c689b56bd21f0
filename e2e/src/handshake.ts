import type { Attester } from '@passport-kbs/guest-client'
import {
  generateTeeKeyPair,
  type JsonObject,
  primaryRuntimeData,
  runtimeDataDigest,
  stringifyJson,
  type TeePrivateKey,
} from '@passport-kbs/protocol'

/** A session after `/auth`. */
export interface OpenSession {
  /** `kbs-session-id=…`, for the header `Cookie`. */
  readonly cookie: string
  readonly nonce: string
}

/** The handshake step by step, for tests that do between its steps what a guest never does. */
export async function requestChallenge(url: string, tee: string): Promise<OpenSession> {
  const answer = await fetch(`${url}/kbs/v0/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ version: '0.4.0', tee, 'extra-params': '' }),
  })
  if (answer.status !== 200) throw new Error(`/auth answered ${answer.status}: ${await answer.text()}`)
  const { nonce } = (await answer.json()) as { readonly nonce: string }
  const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split(';')
  return { cookie, nonce }
}

/** The text of POST /attest for this nonce: evidence over nonce and key, as spec 01 §2.4 and §2.6 have it. */
export async function attestationBody(
  attester: Attester,
  nonce: string,
  teeKey: TeePrivateKey = generateTeeKeyPair(),
): Promise<string> {
  const teePublicKeyJson: JsonObject = teeKey.publicKey.jwk
  const runtimeData = primaryRuntimeData({ nonce, teePublicKeyJson, additionalEvidence: '' })
  const evidence = await attester.evidence(runtimeDataDigest(runtimeData, 'sha384'))
  return `{"init-data":null,"runtime-data":${stringifyJson({ nonce, 'tee-pubkey': teePublicKeyJson })},"tee-evidence":{"primary_evidence":${stringifyJson(evidence)},"additional_evidence":""}}`
}

export interface AttestAnswer {
  readonly status: number
  /** Of a 200. */
  readonly token: string | undefined
  /** As it came. */
  readonly text: string
}

export async function postAttestation(url: string, cookie: string, body: string): Promise<AttestAnswer> {
  const answer = await fetch(`${url}/kbs/v0/attest`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', cookie },
    body,
  })
  const text = await answer.text()
  const token = answer.status === 200 ? (JSON.parse(text) as { token: string }).token : undefined
  return { status: answer.status, token, text }
}

/** The claims of a token; nothing is verified. */
export function claimsOf(token: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
}

/** The protected header of a token. */
export function headerOf(token: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString('utf8'))
}
