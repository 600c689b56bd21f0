import { randomUUID } from 'node:crypto'
import { type Metadata, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js'
import type { Caller, Scope } from '../callers.ts'
import type { ApiDeps } from '../deps.ts'
import { problemOfFailure } from '../problems.ts'
import { callStatus } from './status.ts'

/** Who sent these metadata; an entry lives as long as its call. */
const known = new WeakMap<Metadata, Caller>()

/**
 * Lets calls through whose callers have the scope of the method, before anything of the message is read: a stranger
 * cannot make the server hold what he sends. Methods without a scope are for everyone.
 * @param scopes by the path of the method.
 */
export function authorization(
  { callers, logger }: Pick<ApiDeps, 'callers' | 'logger'>,
  scopes: ReadonlyMap<string, Scope>,
): ServerInterceptor {
  return ({ path }, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            const scope = scopes.get(path)
            if (scope === undefined) return proceed(metadata)
            const [authorization] = metadata.get('authorization')
            const credentials = {
              authorization: typeof authorization === 'string' ? authorization : undefined,
              // there only for a certificate of the configured CA
              certificate: call.getAuthContext().sslPeerCertificate?.raw,
            }
            callers.authorize(credentials, scope).then(
              (caller) => {
                known.set(metadata, caller)
                proceed(metadata)
              },
              (error: unknown) => {
                const requestId = randomUUID()
                const problem = problemOfFailure(error)
                logger.info({ requestId, method: path, err: problem.cause }, problem.message)
                call.sendStatus(callStatus(problem, requestId))
              },
            )
          },
        }),
    })
}

/** The caller that `authorization` let through with these metadata. */
export function callerOf(metadata: Metadata): Caller {
  const caller = known.get(metadata)
  if (caller === undefined) throw new Error('the method has no scope')
  return caller
}
