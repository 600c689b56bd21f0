import { fail, type RejectionCode } from '../rejection.ts'

export const dayMs = 86_400_000

/** Demands that `what`, issued at `issued`, is not older than `maxDays`. @throws CheckFailure `code` */
export function requireAge(
  what: string,
  issued: Date,
  now: Date,
  maxDays: number,
  code: RejectionCode,
): void {
  const age = now.getTime() - issued.getTime()
  // an age that is not a number must not pass
  if (!(age <= maxDays * dayMs)) {
    fail(code, `${what} is ${Math.floor(age / dayMs)} days old; ${maxDays} are allowed`)
  }
}
