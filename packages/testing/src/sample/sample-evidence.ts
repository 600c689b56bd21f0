import { encodeBase64, type JsonObject, jsonObject } from '@passport-kbs/protocol'

/** Evidence of tee `sample` as upstream's sample attester writes it (spec 04 §10). */
export function sampleEvidence(reportData: Uint8Array): JsonObject {
  return jsonObject({ svn: '1', report_data: encodeBase64(reportData) })
}

/** Evidence of tee `sampledevice`. */
export function sampleDeviceEvidence(reportData: Uint8Array): JsonObject {
  return jsonObject({ svn: '2', report_data: encodeBase64(reportData) })
}
