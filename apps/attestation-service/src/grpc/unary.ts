import { randomUUID } from 'node:crypto'
import type { handleUnaryCall, Metadata, ServerUnaryCall } from '@grpc/grpc-js'
import { trailerNames } from '@passport-kbs/attestation-service/remote'
import { KbsProblem } from '@passport-kbs/protocol'
import type { Caller, Credentials, Scope } from '../callers.ts'
import type { ApiDeps } from '../deps.ts'
import type { Call } from '../operations.ts'
import { problemOfFailure } from '../problems.ts'
import { callStatus } from './status.ts'

/** Calls in work at once, over all methods. */
export interface CallSlots {
  /** False where all are taken. */
  take(): boolean
  release(): void
}

export function createCallSlots(limit: number): CallSlots {
  let taken = 0
  return {
    take() {
      if (taken >= limit) return false
      taken++
      return true
    },
    release() {
      taken--
    },
  }
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Makes a method: who calls is known before anything is done, and every failure has a code and a request id. */
export function unary<Request, Response>(
  { callers, logger }: Pick<ApiDeps, 'callers' | 'logger'>,
  slots: CallSlots,
  method: {
    readonly scope: Scope
    readonly handle: (request: Request, call: Call) => Promise<Response>
  },
): handleUnaryCall<Request, Response> {
  return (grpcCall, callback) => {
    let requestId: string = randomUUID()
    const work = async () => {
      if (!slots.take()) throw busy()
      try {
        const caller = await callers.authorize(credentialsOf(grpcCall), method.scope)
        requestId = requestIdOf(caller, grpcCall.metadata) ?? requestId
        return await method.handle(grpcCall.request, { caller, requestId })
      } finally {
        slots.release()
      }
    }
    work().then(
      (response) => callback(null, response),
      (error: unknown) => {
        const problem = problemOfFailure(error)
        const fields = {
          requestId,
          method: grpcCall.getPath(),
          problem: problem.kind,
          status: problem.status,
        }
        if (problem.status >= 500) logger.error({ ...fields, err: problem.cause }, problem.message)
        else logger.info(fields, problem.message)
        callback(callStatus(problem, requestId))
      },
    )
  }
}

function busy(): KbsProblem {
  return new KbsProblem({
    kind: 'TooManyRequests',
    status: 429,
    title: 'Busy',
    detail: 'too many calls in work, try again later',
  })
}

function credentialsOf(call: ServerUnaryCall<unknown, unknown>): Credentials {
  const [authorization] = call.metadata.get('authorization')
  return {
    authorization: typeof authorization === 'string' ? authorization : undefined,
    // there only for a certificate of the configured CA
    certificate: call.getAuthContext().sslPeerCertificate?.raw,
  }
}

/** A client that is known may name the request, so that its log and ours tell of the same. */
function requestIdOf({ name }: Caller, metadata: Metadata): string | undefined {
  const [offered] = metadata.get(trailerNames.requestId)
  return name !== undefined && typeof offered === 'string' && uuid.test(offered) ? offered : undefined
}
