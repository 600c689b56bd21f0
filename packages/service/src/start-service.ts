import type { Hono } from 'hono'
import type { DestinationStream } from 'pino'
import { type AdminGuard, createAdminGuard } from './admin/admin-guard.ts'
import type { Config, HttpServerConfig, Program } from './config/config.ts'
import { type Environment, loadConfig } from './config/load.ts'
import { createHttpServer, type FetchApp, type HttpServer } from './http/server.ts'
import { createServiceApp } from './http/service-app.ts'
import type { ServiceEnv } from './http/service-env.ts'
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
  /**
   * @param isDraining true once the process has been told to stop; then readiness is false
   * @param operation app of the sockets for metrics, where there are some: see `mountOperation`
   */
  readonly app: (isDraining: () => boolean, operation: Hono<ServiceEnv> | undefined) => FetchApp
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
  /** Those of `metrics.sockets`. */
  readonly metricsUrls: readonly string[]
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
  const listeners = await listen(config, service, { logger, isDraining: () => draining() }).catch(
    async (error) => {
      await service.drain?.(0)
      await onClose()
      throw error
    },
  )
  const { server, operation } = listeners
  draining = () => server.draining
  if (operation !== undefined) logger.info({ metrics: operation.urls }, 'metrics listening')
  logger.info(
    { listening: server.urls, profile: config.profile, version, config: config.sourceFile },
    'listening',
  )
  const graceMs = config.httpServer.drainTimeoutMs
  const close: HttpServer['close'] = async () => {
    await Promise.all([server.close({ graceMs }), service.drain?.(graceMs)])
    // until then it says "draining"
    await operation?.close({ graceMs: Math.min(graceMs, lastScrapeMs) })
  }
  return {
    urls: server.urls,
    metricsUrls: operation?.urls ?? [],
    logger,
    async close() {
      await close()
      await onClose()
    },
    untilSignal: () => runUntilSignal({ close }, { logger, graceMs, onClose }),
  }
}

/** What a scrape under way still gets, after everything else has ended. */
const lastScrapeMs = 1_000

interface Listeners {
  readonly server: HttpServer
  /** Where `metrics.sockets` are set. */
  readonly operation: HttpServer | undefined
}

/** Listens on all sockets or on none. */
async function listen(
  config: Config,
  service: OpenService,
  { logger, isDraining }: { readonly logger: Logger; readonly isDraining: () => boolean },
): Promise<Listeners> {
  const { httpServer } = config
  const own = operationServer(config)
  const operationApp = own && createServiceApp({ httpServer: own, logger })
  const app = service.app(isDraining, operationApp)
  const operation =
    own && operationApp && (await createHttpServer({ app: operationApp, httpServer: own, logger }))
  try {
    const { clientCaFile } = service
    return { server: await createHttpServer({ app, httpServer, logger, clientCaFile }), operation }
  } catch (error) {
    await operation?.close({ graceMs: 0 })
    throw error
  }
}

/** The listener's settings with the sockets of the metrics. */
function operationServer({ httpServer, metrics }: Config): HttpServerConfig | undefined {
  const { sockets, insecureHttp = httpServer.insecureHttp } = metrics
  return sockets && { ...httpServer, sockets, insecureHttp }
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
