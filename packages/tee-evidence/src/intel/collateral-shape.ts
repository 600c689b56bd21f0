import { decodeHex, type JsonObject } from '@passport-kbs/protocol'
import * as z from 'zod'
import { fail } from '../rejection.ts'

/** Lower-case hex of exactly `bytes` bytes; both cases are accepted. */
export const hexText = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-fA-F]{${bytes * 2}}$`))
    .transform((text) => text.toLowerCase())

/** As `hexText`, decoded. The order is that of the bytes in a report. */
export const hexBytes = (bytes: number) => hexText(bytes).transform(decodeHex)

/** `YYYY-MM-DDTHH:MM:SSZ`, kept as text: such texts sort in the order of time. */
export const utcSeconds = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  .refine((text) => toUtcSeconds(new Date(text)) === text)

export const svn8 = z.int().min(0).max(0xff)
export const svn16 = z.int().min(0).max(0xffff)

/** A level of a TDX module or of a quoting enclave. */
export const isvLevel = z.object({
  tcb: z.object({ isvsvn: svn16 }),
  tcbDate: utcSeconds,
  tcbStatus: z.string(),
  advisoryIDs: z.array(z.string()).optional(),
})
export type IsvLevel = z.infer<typeof isvLevel>

/** The form of all date claims; the empty text for a date that is none. */
export function toUtcSeconds(date: Date): string {
  return Number.isNaN(date.getTime()) ? '' : `${date.toISOString().slice(0, 19)}Z`
}

/** The first of some dates in the form of `utcSeconds`; at least one is given. */
export function earliest(dates: readonly string[]): string {
  return dates.toSorted()[0] ?? ''
}

/** The last of some dates in the form of `utcSeconds`; at least one is given. */
export function latest(dates: readonly string[]): string {
  return dates.toSorted().at(-1) ?? ''
}

/** @throws CheckFailure `COLLATERAL_MALFORMED` naming the first member that does not fit */
export function parseShape<T>(schema: z.ZodType<T>, body: JsonObject, what: string): T {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  fail(
    'COLLATERAL_MALFORMED',
    `${what} ${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'malformed'}`,
  )
}

const isvStatuses = new Set(['UpToDate', 'OutOfDate', 'Revoked'])

/** The first status text of these levels that Intel's enclave identities do not have. */
export function unknownIsvStatus(levels: readonly IsvLevel[]): string | undefined {
  return levels.find((level) => !isvStatuses.has(level.tcbStatus))?.tcbStatus
}
