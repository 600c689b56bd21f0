import type { DestinationStream } from 'pino'
import { type AdminGuard, createAdminGuard } from './admin/admin-guard.ts'
import type { Config, Program } from './config/config.ts'
import { type Environment, loadConfig } from './config/load.ts'
import { createHttpServer, type FetchApp, type HttpServer } from './http/server.ts'
import { exitWithConfigError, runUntilSignal } from './lifecycle.ts'
import { type Audit, createAudit } from './observability/audit.ts'
import { createLogger, type Logger } from './observability/logger.ts'
import { createMetrics, type Metrics } from './observability/metrics.ts'

/** What every half of a KBS is given besides its own. */
export interface SharedDeps {
  readonly admin: AdminGuard
  readonly audit: Audit
  readonly logger: Logger
  readonly metrics: Metrics
}

/** A program's part: its app, and what has to be closed with it. */
export interface OpenService {
  /** @param isDraining true once the process has been told to stop; then readiness is false. */
  readonly app: (isDraining: () => boolean) => FetchApp
  readonly close: () => Promise<void>
  /** Ends what the program listens on besides, in step with its app. @param graceMs for what is under way. */
  readonly drain?: (graceMs: number) => Promise<void>
  /** PEM file of a CA whose clients may show a certificate. */
  readonly clientCaFile?: string | undefined
}

export interface ServiceOptions {
  readonly program: Program
  readonly version: string
  /** Without interpreter and script. */
  readonly argv: readonly string[]
  readonly env: Environment
  readonly open: (config: Config, shared: SharedDeps) => Promise<OpenService>
  /** Where log lines go. Default: standard output. */
  readonly logDestination?: DestinationStream
}

export interface RunningService {
  /** Bound addresses, e.g. `http://127.0.0.1:8080`. */
  readonly urls: readonly string[]
  readonly logger: Logger
  /** Drains, then closes what the program opened. */
  close(): Promise<void>
  /** Resolves when a signal has ended the service. */
  untilSignal(): Promise<void>
}

/**
 * Reads the configuration, opens what the program needs, listens.
 * @throws ConfigError, or what opening throws; then nothing listens
 */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { program, version, env } = options
  const config = await loadConfig(options)
  const logger = createLogger({
    program,
    env,
    ...(config.logLevel ? { level: config.logLevel } : {}),
    ...(options.logDestination ? { destination: options.logDestination } : {}),
  })
  for (const warning of config.warnings) logger.warn(warning)
  const shared: SharedDeps = {
    logger,
    admin: await createAdminGuard(config.admin, { logger, profile: config.profile }),
    audit: createAudit(logger),
    metrics: createMetrics({ config: config.metrics, version }),
  }
  const service = await options.open(config, shared)
  const onClose = async () => {
    shared.admin.close()
    await service.close()
  }
  let draining = () => false
  const app = service.app(() => draining())
  const { clientCaFile } = service
  const server = await createHttpServer({ app, httpServer: config.httpServer, logger, clientCaFile }).catch(
    async (error) => {
      await service.drain?.(0)
      await onClose()
      throw error
    },
  )
  draining = () => server.draining
  logger.info(
    { listening: server.urls, profile: config.profile, version, config: config.sourceFile },
    'listening',
  )
  const graceMs = config.httpServer.drainTimeoutMs
  const close: HttpServer['close'] = async () => {
    await Promise.all([server.close({ graceMs }), service.drain?.(graceMs)])
  }
  return {
    urls: server.urls,
    logger,
    async close() {
      await close()
      await onClose()
    },
    untilSignal: () => runUntilSignal({ close }, { logger, graceMs, onClose }),
  }
}

/** A program's `main`: runs until a signal ends it; a configuration that cannot work ends it with status 78. */
export async function runService(options: ServiceOptions): Promise<void> {
  try {
    const service = await startService(options)
    await service.untilSignal()
  } catch (error) {
    exitWithConfigError(error)
  }
}
