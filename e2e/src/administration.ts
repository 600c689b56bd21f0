import { type JsonObject, stringifyJson } from '@passport-kbs/protocol'
import type { Administrator } from './organisation.ts'

/** What an administrator asks of a server. Every method throws with the answer where it is not 200. */
export interface Administration {
  setResourcePolicy(rego: string): Promise<void>
  setAttestationPolicy(id: string, rego: string): Promise<void>
  setResource(path: string, secret: Uint8Array | string): Promise<void>
  /** Registers reference values by name, as `sample` extractor message. */
  setReferenceValues(values: JsonObject): Promise<void>
  /** Any request below `/kbs/v0/`, with the administrator's token. */
  request(method: string, path: string, body?: Uint8Array | string): Promise<Response>
}

/** Writes the bodies by itself, so that it is an independent witness of what `kbs-client` sends (spec 01 §6.3). */
export function administer(url: string, admin: Pick<Administrator, 'token'>): Administration {
  const request: Administration['request'] = async (method, path, body) =>
    fetch(`${url}/kbs/v0/${path}`, {
      method,
      headers: { authorization: `Bearer ${await admin.token()}` },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : new Uint8Array(body) }),
    })
  const post = async (path: string, body: Uint8Array | string) => {
    const answer = await request('POST', path, body)
    if (answer.status !== 200) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`)
  }
  const base64url = (text: string) => Buffer.from(text).toString('base64url')
  return {
    request,
    setResourcePolicy: (rego) => post('resource-policy', JSON.stringify({ policy: base64url(rego) })),
    setAttestationPolicy: (id, rego) =>
      post('attestation-policy', JSON.stringify({ type: 'rego', policy_id: id, policy: base64url(rego) })),
    setResource: (path, secret) => post(`resource/${path}`, secret),
    setReferenceValues: (values) => {
      const payload = Buffer.from(stringifyJson(values)).toString('base64')
      return post('reference-value', JSON.stringify({ version: '0.1.0', type: 'sample', payload }))
    },
  }
}
