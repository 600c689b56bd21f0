import { type JsonValue, parseErrorInformation, parseJson } from '@passport-kbs/protocol'
import type { Answer } from './connection.ts'
import { type ErrorInformation, GuestError } from './guest-error.ts'

/** Reads the JSON of an answer. @throws GuestError `malformed-answer` */
export function answerJson<T>(answer: Answer, read: (body: JsonValue) => T): T {
  try {
    return read(parseJson(answer.body, { maxDepth: 128 }))
  } catch (cause) {
    throw new GuestError('malformed-answer', `the answer with status ${answer.status} cannot be read`, {
      cause,
      status: answer.status,
    })
  }
}

/** Reads the error body that every answer but 200 must have; without it the guest gives up (spec 01 §0.3). */
export function errorInformation(answer: Answer): ErrorInformation {
  return answerJson(answer, parseErrorInformation)
}
