import type { ServiceOptions } from '@passport-kbs/service'
import pkg from '../package.json' with { type: 'json' }
import { createApp } from './app.ts'
import { openGrpcServer } from './grpc/server.ts'
import { openApiDeps } from './open-deps.ts'

/** The attestation service as a program of its own: gRPC and REST, for several KBS1 or for a Trustee KBS. */
export const attestationService: Pick<ServiceOptions, 'program' | 'version' | 'open'> = {
  program: 'attestation-service',
  version: pkg.version,
  async open(config, shared) {
    const { deps, close } = await openApiDeps(config, shared)
    const { httpServer } = config
    const clientCaFile = config.attestationApi.clientCa
    const sockets = config.attestationApi.grpcSockets
    const grpc = await openGrpcServer(deps, { sockets, httpServer, clientCaFile }).catch(async (error) => {
      await close()
      throw error
    })
    shared.logger.info({ grpc: grpc.urls }, 'gRPC listening')
    return {
      app: (isDraining, operation) => createApp(deps, { httpServer, isDraining, operation }),
      clientCaFile,
      drain: grpc.drain,
      close,
    }
  },
}
