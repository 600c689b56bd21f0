import { problemTypePrefix } from '@passport-kbs/protocol'
import { expect } from 'vitest'

/** Every refusal is an error body with the request id that the operator's log has (spec 01 §1.3). */
export async function expectProblem(
  answer: Response,
  status: number,
  type: string,
  detail?: string | RegExp,
) {
  const body = (await answer.json()) as Record<string, string>
  expect({ status: answer.status, type: body.type }).toEqual({ status, type: `${problemTypePrefix}${type}` })
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(body.instance).toBe(`urn:uuid:${answer.headers.get('x-request-id')}`)
  if (typeof detail === 'string') expect(body.detail).toBe(detail)
  else if (detail) expect(`${body.detail} | ${body.reason ?? ''}`).toMatch(detail)
  return body
}
