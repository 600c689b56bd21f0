import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { encodeBase64, encodeHex, type JsonObject, jsonObject } from '@passport-kbs/protocol'
import {
  createVirtualVtpm,
  marshalSignature,
  type VtpmDefect,
  type VtpmDefectName,
  vtpmDefects,
} from '@passport-kbs/testing'
import { createTpmVerifier } from '../../src/index.ts'
import { type Subject, scenariosOf } from './subject.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const tpm = createVirtualVtpm()

const spki = (key: KeyObject) => createPublicKey(key).export({ format: 'der', type: 'spki' })

function evidence(defect?: VtpmDefect, key: Uint8Array = spki(tpm.attestationKey)): JsonObject {
  const quote = tpm.quote(reportData.subarray(0, 32), initDataDigest, defect)
  return jsonObject({
    ak_public: encodeBase64(key),
    tpm_quote: jsonObject({
      signature: encodeBase64(marshalSignature(quote.signature)),
      message: encodeBase64(quote.message),
      pcrs: quote.pcrs.map(encodeHex),
    }),
  })
}

/** Defects of the variable data, which a TPM outside Azure does not have. */
const isOfQuote = (name: VtpmDefectName) => !/^(ak|variable-data)-/.test(name)

/** `tpm` with report data required. */
export function tpmSubject(): Subject {
  const genuine = {
    verifier: createTpmVerifier({ policy: { requireReportData: true } }),
    evidence: evidence(),
    request,
  }
  const scenario = scenariosOf(genuine)
  const defects = (Object.keys(vtpmDefects) as VtpmDefectName[]).filter(isOfQuote)
  const asking = (name: string, change: object) =>
    scenario(name, () => ({ request: { ...request, ...change } }))
  return {
    genuine,
    failures: [
      ...defects.map((name) => scenario(name, () => ({ evidence: evidence(vtpmDefects[name]) }))),
      scenario('an attestation key of 1024 bits', () => ({
        evidence: evidence({}, spki(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey)),
      })),
      scenario('an attestation key that is no key', () => ({
        evidence: evidence({}, Buffer.from('no key')),
      })),
      scenario('no expected report data', () => ({
        request: { now, expectedInitDataDigest: initDataDigest },
      })),
      asking('report data of another session', { expectedReportData: randomBytes(48) }),
      asking('other init data', { expectedInitDataDigest: randomBytes(32) }),
      asking('an init-data digest of 48 bytes', { expectedInitDataDigest: randomBytes(48) }),
    ],
  }
}
