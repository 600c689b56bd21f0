import { isIP } from 'node:net'
import { z } from 'zod'

const members = {
  host: z
    .string()
    .regex(/^(\/[^\0]*|[0-9A-Fa-f:.]+|[A-Za-z0-9._-]+)$/, 'must be a host, an address, or a socket’s folder')
    .default('localhost')
    .describe('Host or address of the server, or the folder of its Unix socket.'),
  port: z.int().min(1).max(65_535).default(5432).describe('Its port.'),
  db: z.string().min(1).max(63).optional().describe('Database; default: named as the user.'),
  username: z.string().min(1).max(63).default('postgres').describe('User.'),
  password: z.string().min(1).optional().describe('Password; better in `password_file`.'),
  password_file: z
    .string()
    .min(1)
    .optional()
    .describe('Ours: file with the password; read for every new connection, so it can be changed.'),
  tls: z
    .boolean()
    .optional()
    .describe(
      'Ours: speak TLS and verify the server’s certificate. Default: yes, unless `host` is loopback or a socket.',
    ),
  tls_ca: z
    .string()
    .min(1)
    .optional()
    .describe('Ours: PEM file with the CA to trust instead of the system’s.'),
  pool_size: z
    .int()
    .min(1)
    .max(100)
    .default(5)
    .describe('Ours: connections that one store holds at most; a service has up to five stores.'),
  command_timeout_ms: z
    .int()
    .min(50)
    .max(60_000)
    .default(5_000)
    .describe(
      'Ours: time in which PostgreSQL must answer a statement, and in which a connection must be had.',
    ),
}

/**
 * `[storage_backend.backends.postgres]`: Trustee's `db`, `username`, `password`, `port`, `host`, and ours. Unknown keys
 * are refused here, though Trustee ignores them: a mistyped `tls_ca` must not go unnoticed.
 */
export const postgresSectionSchema = z.strictObject(members).superRefine((postgres, context) => {
  const refuse = (key: string, message: string) =>
    context.addIssue({ code: 'custom', path: [key], message, input: undefined })
  if (postgres.password !== undefined && postgres.password_file !== undefined) {
    refuse('password_file', 'give password or password_file, not both')
  }
  if (postgres.tls_ca !== undefined && !speaksTls(postgres)) refuse('tls_ca', 'needs tls = true')
  if (postgres.tls === true && postgres.host.startsWith('/'))
    refuse('tls', 'there is no TLS on a Unix socket')
})

export type PostgresConfig = z.output<typeof postgresSectionSchema>

/** Whether connections are encrypted, which by default only those that stay on this machine are not. */
export function speaksTls({ tls, host }: Pick<PostgresConfig, 'tls' | 'host'>): boolean {
  return tls ?? !(host.startsWith('/') || host === 'localhost' || isLoopback(host))
}

function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

const urlShape = 'must be postgres://[user[:password]@]host[:port]/db[?sslmode=…&sslrootcert=…]'

/**
 * The keys that a URL like `POSTGRES_URL` sets; it overrides them all (spec 01 §5.3). With `sslmode`, `disable` is
 * `tls = false`; `require`, `verify-ca` and `verify-full` are all `tls = true`, so the certificate is always verified;
 * `allow` and `prefer`, which protect nothing, leave the default.
 *
 * @returns the keys, or a complaint that says nothing of the URL, which may hold a password
 */
export function readPostgresUrl(text: string): { keys: Record<string, unknown> } | { problem: string } {
  const url = URL.parse(text)
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return { problem: urlShape }
  const { sslmode, sslrootcert, ...others } = Object.fromEntries(url.searchParams)
  if (Object.keys(others).length > 0 || url.hash !== '') return { problem: urlShape }
  const tls = tlsOfMode(sslmode)
  if (tls === 'unknown')
    return { problem: 'sslmode must be disable, allow, prefer, require, verify-ca or verify-full' }
  const decoded = [
    url.hostname.replace(/^\[|\]$/g, ''),
    url.username,
    url.password,
    url.pathname.slice(1),
  ].map(decode)
  const [host, username, password, db] = decoded
  if (decoded.includes(undefined)) return { problem: urlShape }
  return {
    keys: {
      ...(host !== '' && { host }),
      ...(url.port !== '' && { port: Number(url.port) }),
      ...(username !== '' && { username }),
      ...(password !== '' && { password }),
      ...(db !== '' && { db }),
      ...(tls !== undefined && { tls }),
      ...(sslrootcert !== undefined && { tls_ca: sslrootcert }),
    },
  }
}

/** Keys of the section that a URL replaces as a whole, so that no half of the section mixes with half of the URL. */
export const keysOfUrl = ['host', 'port', 'db', 'username', 'password'] as const

function tlsOfMode(mode: string | undefined): boolean | undefined | 'unknown' {
  if (mode === undefined || mode === 'allow' || mode === 'prefer') return undefined
  if (mode === 'disable') return false
  return ['require', 'verify-ca', 'verify-full'].includes(mode) ? true : 'unknown'
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
