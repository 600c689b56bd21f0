import { encodeBase64, type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'

/** What can produce evidence: a TEE's driver, or a stand-in for one. */
export interface Attester {
  /** Name of the TEE in messages (spec 01 §2.3). */
  readonly tee: string
  /**
   * Evidence that carries `reportData`.
   * @param reportData the digest as it is, 32 to 64 bytes; padding or truncating it to the TEE's field is the attester's
   *   part (spec 01 §2.7).
   */
  evidence(reportData: Uint8Array): Promise<JsonValue>
  /**
   * Evidence of devices beside the TEE, by the devices' TEE names; absent or empty where there is none.
   * @param reportData the digest for devices, another than that for the TEE.
   */
  additional?(reportData: Uint8Array): Promise<JsonObject>
}

/**
 * An attester that attests nothing: evidence of the TEE `sample`, which servers accept for tests only.
 * @param options.device also gives evidence of a `sampledevice`, as the guest does when ENABLE_SAMPLE_DEVICE is set.
 */
export function sampleAttester(options: { readonly svn?: string; readonly device?: boolean } = {}): Attester {
  const { svn = '1', device = false } = options
  return {
    tee: 'sample',
    evidence: async (reportData) => sampleEvidence(svn, reportData),
    ...(device
      ? { additional: async (reportData) => jsonObject({ sampledevice: sampleEvidence('2', reportData) }) }
      : {}),
  }
}

function sampleEvidence(svn: string, reportData: Uint8Array): JsonObject {
  return jsonObject({ svn, report_data: encodeBase64(reportData) })
}
