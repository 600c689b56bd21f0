import { parse as parseToml } from 'smol-toml'
import { type Config, createLogger, type HttpServerConfig, type Logger, parseConfig } from '../src/index.ts'

/** A configuration from TOML in the development profile, plain HTTP on a free port of loopback unless said otherwise. */
export function configOf(toml = ''): Config {
  const document = parseToml(toml) as Record<string, Record<string, unknown>>
  document.http_server = { insecure_http: true, sockets: ['127.0.0.1:0'], ...document.http_server }
  return parseConfig('kbs', document, { KBS_PROFILE: 'development' })
}

export function httpServerConfig(toml = ''): HttpServerConfig {
  return configOf(`[http_server]\n${toml}`).httpServer
}

/** A logger whose lines the test can read. */
export function recordingLogger(level = 'debug'): {
  readonly logger: Logger
  readonly lines: Record<string, unknown>[]
  text(): string
} {
  const lines: Record<string, unknown>[] = []
  const destination = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  }
  const logger = createLogger({ program: 'test', env: {}, level, destination })
  return { logger, lines, text: () => JSON.stringify(lines) }
}
