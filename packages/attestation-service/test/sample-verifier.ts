import {
  decodeBase64,
  encodeBase64,
  isJsonObject,
  type JsonValue,
  jsonObject,
  type Tee,
} from '@passport-kbs/protocol'
import { EvidenceRejected, type Verifier, verifiedEvidence } from '@passport-kbs/tee-evidence'

/** The sample TEE of spec 04 §10, small: `{svn, report_data}` in, its fixed claims out. */
export const sampleVerifier: Verifier = {
  tee: 'sample',
  checks: [],
  verify: async (evidence, { expectedReportData, expectedInitDataDigest }) => {
    const { svn, reportData } = sampleEvidence(evidence, expectedReportData)
    const claims = jsonObject({
      svn,
      report_data: reportData,
      launch_digest: 'abcde',
      platform_version: jsonObject({ major: 1, minor: 4 }),
      debug: false,
      ...(expectedInitDataDigest ? { init_data: encodeBase64(expectedInitDataDigest) } : {}),
    })
    return [
      verifiedEvidence({ tee: 'sample', teeClass: 'cpu', claims, passed: ['evidence-shape', 'report-data'] }),
    ]
  },
}

export const sampleDeviceVerifier: Verifier = {
  tee: 'sampledevice',
  checks: [],
  verify: async (evidence, { expectedReportData }) => {
    const { svn, reportData } = sampleEvidence(evidence, expectedReportData)
    const claims = jsonObject({ svn, report_data: reportData })
    return [verifiedEvidence({ tee: 'sampledevice', teeClass: 'gpu', claims, passed: ['report-data'] })]
  },
}

/** A verifier that finds the claims given, whatever the evidence. */
export function claimsVerifier(tee: Tee, teeClass: 'cpu' | 'gpu' | 'dcu', ...claims: JsonValue[]): Verifier {
  return {
    tee,
    checks: [],
    verify: async () =>
      claims
        .filter(isJsonObject)
        .map((entry) => verifiedEvidence({ tee, teeClass, claims: entry, passed: [] })),
  }
}

function sampleEvidence(evidence: JsonValue, expected: Uint8Array | undefined) {
  const { svn, report_data: reportData = '' } = isJsonObject(evidence) ? evidence : {}
  if (typeof svn !== 'string' || typeof reportData !== 'string') {
    throw new EvidenceRejected('EVIDENCE_MALFORMED', 'evidence-shape', 'not sample evidence')
  }
  if (expected && Buffer.compare(decodeBase64(reportData), expected) !== 0) {
    throw new EvidenceRejected('REPORT_DATA_MISMATCH', 'report-data', 'report data is not what was expected')
  }
  return { svn, reportData }
}
