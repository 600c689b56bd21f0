import { JweError, openWithTeeKey, parseJweResponse, type TeePrivateKey } from '@passport-kbs/protocol'
import { answerJson, errorInformation } from './answers.ts'
import type { Answer, Connection } from './connection.ts'
import { GuestError } from './guest-error.ts'

/** How often the guest asks before it gives up (spec 01 §9.2). */
const rounds = 3

export interface ResourceRequest {
  readonly connection: Connection
  readonly url: URL
  /** What identifies the guest in this round: its cookie, or its token. */
  readonly credentials: () => Record<string, string>
  /** The key of the handshake that gave the present credentials. */
  readonly teeKey: () => TeePrivateKey
  /** Gets new credentials after the 401 that `refusal` stands for; its failure ends the request. */
  readonly renew: (refusal: GuestError) => Promise<void>
}

/**
 * Asks for a resource, with new credentials after each 401, and decrypts it.
 * @returns the resource's bytes.
 * @throws GuestError
 */
export async function requestResource(request: ResourceRequest): Promise<Uint8Array> {
  const { connection, url, credentials, teeKey, renew } = request
  let last: GuestError | undefined
  for (let round = 0; round < rounds; round++) {
    const answer = await connection.send({ url, method: 'GET', headers: credentials() })
    if (answer.status === 200) return opened(answer, teeKey())
    last = refusal(answer)
    if (last.code !== 'unauthorized') throw last
    await renew(last)
  }
  throw last ?? new GuestError('unauthorized', 'request unauthorized')
}

function opened(answer: Answer, teeKey: TeePrivateKey): Uint8Array {
  const jwe = answerJson(answer, parseJweResponse)
  try {
    return openWithTeeKey(teeKey, jwe)
  } catch (cause) {
    if (!(cause instanceof JweError)) throw cause
    throw new GuestError('undecryptable', `the resource does not decrypt: ${cause.message}`, { cause })
  }
}

/** The guest's three reactions to any answer but 200 (spec 01 §9.2); its texts are those that scripts search for. */
function refusal(answer: Answer): GuestError {
  const { status } = answer
  const information = errorInformation(answer)
  const options = { status, information }
  if (status === 401)
    return new GuestError('unauthorized', `request unauthorized: ${information.detail}`, options)
  if (status === 404)
    return new GuestError('resource-not-found', `resource not found: ${information.detail}`, options)
  return new GuestError('server-error', `KBS internal error: ${information.detail}`, options)
}
