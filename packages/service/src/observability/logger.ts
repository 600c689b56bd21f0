import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger }

/** Names under which secrets travel. */
const secretNames = new Set([
  ...['authorization', 'cookie', 'set-cookie', 'headers', 'body', 'token', 'evidence', 'secret', 'password'],
  ...['api_key', 'apiKey', 'sessionId', 'session_id', 'private_key', 'privateKey'],
])

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
      formatters: { level: (label) => ({ level: label }), log: (members) => redacted(members, 0) },
      // pino would describe the described error once more
      serializers: { err: (described) => described },
    },
    options.destination ?? pino.destination({ sync: true }),
  )
}

/** A copy in which members named like secrets are covered, three levels deep; below that nothing is logged. */
function redacted(members: Record<string, unknown>, depth: number): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const name of Object.keys(members)) {
    const value = members[name]
    copy[name] = secretNames.has(name) && value !== undefined ? '[redacted]' : redactedValue(value, depth)
  }
  return copy
}

function redactedValue(value: unknown, depth: number): unknown {
  if (value instanceof Error) return describeError(value)
  // dates and the like write themselves
  if (typeof value !== 'object' || value === null || 'toJSON' in value) return value
  if (depth >= 3) return '[too deep]'
  if (Array.isArray(value)) return value.map((item) => redactedValue(item, depth + 1))
  return redacted(value as Record<string, unknown>, depth + 1)
}

/** `info,hyper=warn` → `info`; directives for one target are Rust's and do not apply. */
function levelFrom(text: string | undefined): string | undefined {
  const words = (text ?? '').split(',').map((directive) => directive.trim().toLowerCase())
  const word = words.find((directive) => levels.has(directive) || directive === 'off')
  return word === 'off' ? 'silent' : word
}

/** An error and its causes, at most five deep, with the stack of the first. */
export function describeError(error: unknown): { readonly message: string } {
  if (!(error instanceof Error)) return describeReason(error)
  return {
    ...describeReason(error),
    ...(error.stack === undefined ? {} : { stack: error.stack.slice(0, 8_000) }),
  }
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
