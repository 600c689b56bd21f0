import {
  type JsonObject,
  resourcePolicyBody,
  sampleReferenceValueBody,
  stringifyJson,
} from '@passport-kbs/protocol'
import { DemoFailure } from './narrator.ts'
import type { Trustee } from './organisations.ts'

/** The requests of `kbsctl config …`, as an administrator of one Trustee. */
export function administratorOf(trustee: Trustee) {
  const post = async (path: string, body: string | Uint8Array<ArrayBuffer>) => {
    const answer = await fetch(`${trustee.url}/kbs/v0/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await trustee.adminToken()}` },
      body,
    })
    if (answer.status !== 200) throw new DemoFailure(`${path}: ${answer.status} ${await answer.text()}`)
  }
  return {
    setResourcePolicy: (rego: string) => post('resource-policy', stringifyJson(resourcePolicyBody(rego))),
    setResource: (path: string, secret: Uint8Array) => post(`resource/${path}`, Buffer.from(secret)),
    setReferenceValues: (values: JsonObject) =>
      post('reference-value', stringifyJson(sampleReferenceValueBody(values))),
  }
}
