import { randomUUID } from 'node:crypto'
import type { handleUnaryCall, Metadata } from '@grpc/grpc-js'
import { trailerNames } from '@passport-kbs/attestation-service/remote'
import { KbsProblem } from '@passport-kbs/protocol'
import type { Caller } from '../callers.ts'
import type { ApiDeps } from '../deps.ts'
import type { Call } from '../operations.ts'
import { problemOfFailure } from '../problems.ts'
import { callerOf } from './authorization.ts'
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

/** Makes a method for callers that are known already: every failure has a code and a request id. */
export function unary<Request, Response>(
  { logger }: Pick<ApiDeps, 'logger'>,
  slots: CallSlots,
  handle: (request: Request, call: Call) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (grpcCall, callback) => {
    let requestId: string = randomUUID()
    const work = async () => {
      if (!slots.take()) throw busy()
      try {
        const caller = callerOf(grpcCall.metadata)
        requestId = requestIdOf(caller, grpcCall.metadata) ?? requestId
        return await handle(grpcCall.request, { caller, requestId })
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

/** A client that is known may name the request, so that its log and ours tell of the same. */
function requestIdOf({ name }: Caller, metadata: Metadata): string | undefined {
  const [offered] = metadata.get(trailerNames.requestId)
  return name !== undefined && typeof offered === 'string' && uuid.test(offered) ? offered : undefined
}
