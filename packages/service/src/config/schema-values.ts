import { z } from 'zod'

/** Accepts other spellings of an enumerated value, as Trustee's aliases do. */
export const spelled = <const T extends readonly [string, ...string[]]>(
  values: T,
  aliases: Record<string, T[number]>,
) =>
  z.preprocess(
    (value) => (typeof value === 'string' && Object.hasOwn(aliases, value) ? aliases[value] : value),
    z.enum(values),
  )

export const filePath = () => z.string().min(1).max(4096)
export const webAddress = () => z.string().min(1).max(2048)
export const count = (minimum: number, maximum: number) => z.int().min(minimum).max(maximum)
export const milliseconds = (minimum: number, maximum: number) => z.int().min(minimum).max(maximum)

export const storageType = () =>
  spelled(['Memory', 'LocalFs', 'Redis', 'Postgres', 'LocalJson'], {
    memory: 'Memory',
    local_fs: 'LocalFs',
    redis: 'Redis',
    postgres: 'Postgres',
    local_json: 'LocalJson',
  })

export const sockets = () =>
  z
    .array(
      z
        .string()
        .regex(
          /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]|localhost):\d{1,5}$/,
          'must be ip:port, e.g. "0.0.0.0:8080" or "[::]:8080"',
        ),
    )
    .min(1)
    .max(16)

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
