import { problems } from '@passport-kbs/protocol'
import { type KbsRequest, PassportRejected, type VerifiedPassport } from '@passport-kbs/service'
import type { ResourceDeps } from './deps.ts'

/**
 * The verified passport of a request: that of its cookie session, else its Bearer token (spec 01 §4.1). An expired session
 * does not stand in the way of a fresh Bearer token.
 */
export async function passportOf(
  { passports, sessionPassport }: Pick<ResourceDeps, 'passports' | 'sessionPassport'>,
  request: KbsRequest,
): Promise<VerifiedPassport> {
  const bearer = bearerToken(request.header('authorization'))
  const fromSession = await sessionPassport?.(request.header('cookie'))
  const candidates = [fromSession, bearer].filter((token) => token !== undefined)
  let rejection: PassportRejected | undefined
  for (const token of candidates) {
    try {
      return await passports.verify(token)
    } catch (error) {
      if (!(error instanceof PassportRejected)) throw error
      rejection = error
    }
  }
  if (rejection === undefined) throw problems.tokenNotFound()
  if (rejection.code === 'keys-unavailable') throw problems.serviceUnavailable(rejection, 5)
  throw problems.tokenRefused(rejection)
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +([A-Za-z0-9_=.-]+) *$/i.exec(header ?? '')?.[1]
}
