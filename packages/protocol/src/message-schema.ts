import { z } from 'zod'
import type { JsonValue } from './json.ts'

/** A message of the protocol has the wrong shape. Names the member, never its value. */
export class MessageError extends Error {
  override readonly name = 'MessageError'
  /** Where: `runtime-data.nonce`; empty for the message as a whole. */
  readonly path: string
  readonly reason: string
  /** The text that Trustee's answer has for this failure, where there is one (spec 01 §1.3). */
  readonly contractText: string | undefined
  constructor(path: string, reason: string, options?: { cause?: unknown; contractText?: string }) {
    super(path === '' ? reason : `${path}: ${reason}`, options?.cause === undefined ? undefined : options)
    this.path = path
    this.reason = reason
    this.contractText = options?.contractText
  }
}

/** Any JSON value, kept as it is. */
export const anyJson = z.custom<JsonValue>((value) => value !== undefined, 'missing')

/** Applies a schema. @throws MessageError naming the first member at fault. */
export function checkedMessage<T>(schema: z.ZodType<T>, body: JsonValue, contractText?: string): T {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const path = issue?.path.map(String).join('.') ?? ''
  throw new MessageError(path, issue === undefined ? 'malformed' : reasonOf(issue), {
    ...(contractText === undefined ? {} : { contractText }),
  })
}

/** Own words instead of zod's, some of which repeat what was received. */
function reasonOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `${issue.expected} expected`
    case 'too_big':
      return 'too large'
    case 'too_small':
      return 'too small'
    case 'custom':
      return issue.message
    default:
      return 'malformed'
  }
}
