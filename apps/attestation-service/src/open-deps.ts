import { readFile } from 'node:fs/promises'
import { openBuiltInAttestation } from '@passport-kbs/app-kbs-attest'
import { type Config, ConfigError, isLoopbackSocket, type SharedDeps } from '@passport-kbs/service'
import { openCallers, type Scope } from './callers.ts'
import type { ApiDeps } from './deps.ts'
import { createOperations } from './operations.ts'

/** Opens what the program works with. `close` ends all of it. */
export async function openApiDeps(
  config: Config,
  { audit, logger, metrics }: SharedDeps,
): Promise<{ deps: ApiDeps; close: () => Promise<void> }> {
  const { clients, clientCa } = config.attestationApi
  if (clientCa !== undefined) await readClientCa(clientCa)
  const callers = await openCallers(clients, anonymousScopes(config))
  const { attestation, close } = await openBuiltInAttestation(config, logger)
  const operations = createOperations({ attestation, audit, metrics, now: () => new Date() })
  return { deps: { attestation, operations, callers, logger, metrics }, close }
}

/** Off loopback nobody calls without credentials unless the configuration says so (spec 02 W-1). */
function anonymousScopes({ attestationApi, httpServer }: Config): readonly Scope[] {
  if (attestationApi.anonymous !== undefined) return attestationApi.anonymous
  const sockets = [...attestationApi.grpcSockets, ...httpServer.sockets]
  return sockets.every(isLoopbackSocket) ? ['attest', 'administer'] : []
}

async function readClientCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const problem = { path: 'attestation_api.client_ca', problem: `${path} cannot be read` }
    throw new ConfigError([{ ...problem, remedy: 'Check the path and its permissions' }], { cause })
  }
}
