import { Metadata, type MethodDefinition, type ServiceDefinition, status } from '@grpc/grpc-js'
import { AttestationUnavailable } from '../attestation-service.ts'
import { openConnections, type RemoteAddress } from './connections.ts'
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  healthServiceDefinition,
  trailerNames,
} from './proto.ts'
import { remoteFailure } from './remote-failure.ts'
import type { TokenFile } from './token-file.ts'

export interface CallOptions extends RemoteAddress {
  /** Sent as bearer token. */
  readonly token?: TokenFile | undefined
  /** Most connections at once. */
  readonly maxConnections: number
  /** How long a call may take, in milliseconds; guests give up after 60 s. */
  readonly requestTimeoutMs: number
  /** Largest answer, in bytes. */
  readonly messageLimit: number
}

/** Calls a method. Rejects with gRPC's `ServiceError`, or `TokenFileError`. */
export type Ask = <Request, Response>(
  called: MethodDefinition<Request, Response>,
  request: Request,
  options?: { readonly requestId?: string; readonly timeoutMs?: number },
) => Promise<Response>

const healthTimeoutMs = 1_500
const healthCheck = method<HealthCheckRequest, HealthCheckResponse>(healthServiceDefinition, 'Check')

/** Connections are made when calls need them. */
export function openCalls(options: CallOptions): { readonly ask: Ask; readonly close: () => void } {
  const connections = openConnections(options, options)
  const ask: Ask = async (called, request, { requestId, timeoutMs = options.requestTimeoutMs } = {}) => {
    const metadata = new Metadata()
    if (requestId !== undefined) metadata.set(trailerNames.requestId, requestId)
    if (options.token !== undefined) metadata.set('authorization', `Bearer ${await options.token.token()}`)
    return await connections.call(called, request, { metadata, deadline: Date.now() + timeoutMs })
  }
  return { ask, close: () => connections.close() }
}

/**
 * Resolves when the server says that the service serves, or does not know health checks.
 *
 * @param who is asked, for the error
 * @throws AttestationUnavailable
 */
export async function assertServing(ask: Ask, service: string, who: string): Promise<void> {
  const answer = await ask(healthCheck, { service }, { timeoutMs: healthTimeoutMs }).catch(
    (error: unknown) => {
      // a server without health service that answers is as much as can be known
      if (Reflect.get(Object(error), 'code') === status.UNIMPLEMENTED) return { status: 'SERVING' }
      throw remoteFailure(error, who)
    },
  )
  if (answer.status !== 'SERVING') throw new AttestationUnavailable(`${who} is not serving`)
}

export function method<Request, Response>(
  definition: ServiceDefinition,
  name: string,
): MethodDefinition<Request, Response> {
  const found = definition[name]
  if (found === undefined) throw new Error(`there is no method ${name}`)
  return found as MethodDefinition<Request, Response>
}
