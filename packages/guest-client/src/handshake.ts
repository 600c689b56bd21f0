import {
  attestRequestBody,
  authRequestBody,
  deviceRuntimeData,
  type JsonObject,
  type JsonValue,
  parseChallenge,
  parseTokenBody,
  primaryRuntimeData,
  runtimeDataDigest,
  stringifyJson,
  type TeePrivateKey,
} from '@passport-kbs/protocol'
import { answerJson, errorInformation } from './answers.ts'
import type { Attester } from './attester.ts'
import type { Answer, Connection } from './connection.ts'
import type { CookieJar } from './cookie-jar.ts'
import { GuestError } from './guest-error.ts'
import { baseUrl } from './resource-url.ts'

/** The document that a guest was started with, and its format, of which servers know `toml` only. */
export interface InitData {
  readonly format: string
  readonly body: string
}

export interface HandshakeParts {
  readonly kbsUrl: string
  readonly connection: Connection
  readonly cookies: CookieJar
  readonly attester: Attester
  readonly teeKey: TeePrivateKey
  readonly initData?: InitData
}

/**
 * One RCAR handshake: request, challenge, attestation, response (spec 01 §2.1). The session stays in the cookie jar.
 * @returns the token.
 * @throws GuestError
 */
export async function handshake(parts: HandshakeParts): Promise<string> {
  const { kbsUrl, attester, teeKey, initData } = parts
  const auth = await post(parts, `${baseUrl(kbsUrl)}/kbs/v0/auth`, authRequestBody(attester.tee))
  const { nonce, hashAlgorithm } = answerJson(auth, parseChallenge)
  const bound = { nonce, teePublicKeyJson: teeKey.publicKey.jwk }
  const additionalEvidence = await deviceEvidence(
    attester,
    runtimeDataDigest(deviceRuntimeData(bound), hashAlgorithm),
  )
  const reportData = runtimeDataDigest(primaryRuntimeData({ ...bound, additionalEvidence }), hashAlgorithm)
  const primaryEvidence = await attester.evidence(reportData)
  const attestation = attestRequestBody({
    ...bound,
    primaryEvidence,
    additionalEvidence,
    ...(initData === undefined ? {} : { initData }),
  })
  return answerJson(await post(parts, `${baseUrl(kbsUrl)}/kbs/v0/attest`, attestation), parseTokenBody)
}

/** JSON text of the devices' evidence, or the empty string: the text itself is hashed. */
async function deviceEvidence(attester: Attester, reportData: Uint8Array): Promise<string> {
  const devices: JsonObject = (await attester.additional?.(reportData)) ?? {}
  return Object.keys(devices).length === 0 ? '' : stringifyJson(devices)
}

async function post(
  { connection, cookies }: HandshakeParts,
  address: string,
  body: JsonValue,
): Promise<Answer> {
  const url = new URL(address)
  const cookie = cookies.header(url)
  const answer = await connection.send({
    url,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(cookie === undefined ? {} : { cookie }) },
    body: stringifyJson(body),
  })
  if (answer.status !== 200) throw refused(url, answer)
  cookies.store(answer.setCookies, url)
  return answer
}

function refused(url: URL, answer: Answer): GuestError {
  const { status } = answer
  const verb = url.pathname.slice(url.pathname.lastIndexOf('/'))
  if (status !== 401) {
    const text = new TextDecoder().decode(answer.body.subarray(0, 1024))
    return new GuestError('handshake-failed', `${verb} answered ${status}: ${text}`, { status })
  }
  const information = errorInformation(answer)
  return new GuestError('handshake-failed', `${verb} refused: ${information.detail}`, { status, information })
}
