import type { Logger } from 'pino'
import { ConfigError } from './config/config-error.ts'
import type { HttpServer } from './http/server.ts'

/** BSD's EX_CONFIG: a supervisor can tell a wrong configuration from a crash. */
const exitConfig = 78

/**
 * Ends a program that cannot start: prints every problem with its remedy to stderr and exits with status 78. Errors that
 * are not about configuration print their message and exit with 1.
 */
export function exitWithConfigError(error: unknown): never {
  process.stderr.write(startupRefusal(error))
  process.exit(error instanceof ConfigError ? exitConfig : 1)
}

/** What `exitWithConfigError` prints. */
export function startupRefusal(error: unknown): string {
  if (!(error instanceof ConfigError)) {
    return `The service cannot start: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}\n`
  }
  const items = error.problems.map(({ path, problem, remedy }) => `  ${path}: ${problem}.\n    ${remedy}.`)
  return `The service does not start, because of its configuration:\n${items.join('\n')}\n`.replaceAll(
    /([.?!])\.\n/g,
    '$1\n',
  )
}

/**
 * Waits for SIGTERM or SIGINT, then drains: no new connections, requests in work get `graceMs`, then `onClose` runs. A
 * second signal, or 5 s beyond the grace time, ends the process at once.
 */
export async function runUntilSignal(
  server: Pick<HttpServer, 'close'>,
  options: {
    readonly logger: Logger
    readonly graceMs: number
    readonly onClose?: () => Promise<void> | void
  },
): Promise<void> {
  const { logger, graceMs } = options
  const signal = await nextSignal()
  logger.info({ signal, graceMs }, 'stopping')
  const abandon = (why: string) => {
    logger.error(why)
    process.exit(1)
  }
  const hardLimit = setTimeout(() => abandon('stopping took too long'), graceMs + 5_000)
  const impatient = () => abandon('told twice to stop')
  process.once('SIGTERM', impatient).once('SIGINT', impatient)
  try {
    await server.close({ graceMs })
    await options.onClose?.()
    logger.info('stopped')
    // whatever still holds the process has had its chance
    setTimeout(() => process.exit(0), 1_000).unref()
  } finally {
    clearTimeout(hardLimit)
    process.off('SIGTERM', impatient).off('SIGINT', impatient)
  }
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const take = (signal: NodeJS.Signals) => {
      process.off('SIGTERM', take).off('SIGINT', take)
      resolve(signal)
    }
    process.on('SIGTERM', take).on('SIGINT', take)
  })
}
