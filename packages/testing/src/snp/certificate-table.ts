import { type JsonObject, jsonObject } from '@passport-kbs/protocol'

/** One entry of `cert_chain`: what the host's certificate table becomes in the guest's evidence (spec 03 §3.1). */
export function certificateEntry(type: string, data: Uint8Array): JsonObject {
  return jsonObject({ cert_type: type, data: [...data] })
}
