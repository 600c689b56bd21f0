import type { Socket } from 'node:net'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import {
  attestationServiceDefinition,
  healthServiceDefinition,
  messageLimit,
  referenceValueServiceDefinition,
} from '@passport-kbs/attestation-service/remote'
import { createConnectionServer, type HttpServerConfig } from '@passport-kbs/service'
import type { ApiDeps } from '../deps.ts'
import { authorization } from './authorization.ts'
import { createHealthService } from './health.ts'
import { attestationMethods, methodScopes, referenceValueMethods } from './services.ts'
import { createCallSlots } from './unary.ts'

/** The gRPC services, listening. */
export interface GrpcServer {
  /** Bound addresses, e.g. `https://127.0.0.1:50004`. */
  readonly urls: readonly string[]
  /** Says NOT_SERVING, accepts nothing more, lets calls in work finish for `graceMs`, then cuts them off. */
  drain(graceMs: number): Promise<void>
}

const maxStreamsPerConnection = 100

/**
 * Listens for gRPC with TLS and limits as `httpServer` says. A client whose connection is silent is asked whether it is
 * still there.
 * @throws TlsError, or the listen error; then nothing listens
 */
export async function openGrpcServer(
  deps: ApiDeps,
  options: {
    readonly sockets: readonly string[]
    readonly httpServer: HttpServerConfig
    readonly clientCaFile: string | undefined
  },
): Promise<GrpcServer> {
  const { httpServer } = options
  const server = new Server({
    'grpc.max_receive_message_length': messageLimit(httpServer.payloadRequestSize),
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': maxStreamsPerConnection,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.enable_channelz': 0,
    interceptors: [authorization(deps, methodScopes)],
  })
  const slots = createCallSlots(httpServer.maxConcurrentRequests)
  const health = createHealthService({ probe: () => deps.attestation.ping(), logger: deps.logger })
  server.addService(attestationServiceDefinition, attestationMethods(deps, slots))
  server.addService(referenceValueServiceDefinition, referenceValueMethods(deps, slots))
  server.addService(healthServiceDefinition, health.methods)
  // the sockets are ours, so that TLS, limits and the change of certificates are those of HTTP
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listener = await createConnectionServer({
    ...options,
    logger: deps.logger,
    protocols: ['h2'],
    onConnection: (socket: Socket) => {
      socket.setNoDelay(true)
      injector.injectConnection(socket)
    },
  })
  return {
    urls: listener.urls,
    async drain(graceMs) {
      health.drain()
      // says goodbye on every connection; it does not wait for the calls, the listener does
      server.tryShutdown(() => {})
      await listener.close(graceMs)
      server.forceShutdown()
    },
  }
}
