import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger }

/** Names under which secrets travel. Redacted wherever they are logged, one level deep included. */
const secretNames = [
  'authorization',
  'cookie',
  'set-cookie',
  'token',
  'evidence',
  'password',
  'api_key',
  'apiKey',
  'secret',
  'sessionId',
  'session_id',
  'headers',
  'body',
]

const levels = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])

/**
 * JSON lines on stdout. The level is that of `KBS_LOG`, else of `RUST_LOG` (its first directive without target), else
 * `level`, else `info`. Members that carry secrets are replaced by `[redacted]`; of a logged error only name, code,
 * message and stack are written, for its other members may hold what was being processed.
 */
export function createLogger(options: {
  readonly program: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly level?: string
  readonly destination?: DestinationStream
}): Logger {
  return pino(
    {
      level:
        levelFrom(options.env.KBS_LOG) ??
        levelFrom(options.env.RUST_LOG) ??
        levelFrom(options.level) ??
        'info',
      base: { program: options.program },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secretNames.flatMap((name) => [quoted(name), `*${quoted(name)}`]),
        censor: '[redacted]',
      },
      serializers: { err: describeError, cause: describeError },
    },
    options.destination ?? pino.destination({ sync: true }),
  )
}

const quoted = (name: string): string => `["${name}"]`

/** `info,hyper=warn` → `info`; directives for one target are Rust's and do not apply. */
function levelFrom(text: string | undefined): string | undefined {
  const words = (text ?? '').split(',').map((directive) => directive.trim().toLowerCase())
  const word = words.find((directive) => levels.has(directive) || directive === 'off')
  return word === 'off' ? 'silent' : word
}

/** An error and its causes, at most five deep, with the stack of the first. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return describeReason(error)
  return { ...describeReason(error), stack: error.stack?.slice(0, 8_000) }
}

/** The same without stack: for a refusal, where the place in our code says nothing. */
export function describeReason(error: unknown, depth = 0): { readonly message: string } {
  if (!(error instanceof Error)) return { message: String(error).slice(0, 1_000) }
  const code: unknown = Reflect.get(error, 'code')
  return {
    ...{ name: error.name, message: error.message.slice(0, 4_000) },
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.cause !== undefined && depth < 5 ? { cause: describeReason(error.cause, depth + 1) } : {}),
  }
}
