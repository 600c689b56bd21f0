import { sampleDeviceEvidence, sampleEvidence } from '@passport-kbs/testing'
import { createSampleDeviceVerifier, createSampleVerifier } from '../../src/index.ts'
import { type Subject, scenariosOf } from './subject.ts'

const reportData = Buffer.alloc(48, 3)
const request = { now: new Date('2026-03-01T12:00:00Z'), expectedReportData: reportData }

/** `sample`, enabled. */
export function sampleSubject(): Subject {
  return subjectOf(createSampleVerifier, sampleEvidence)
}

/** `sampledevice`, enabled. */
export function sampleDeviceSubject(): Subject {
  return subjectOf(createSampleDeviceVerifier, sampleDeviceEvidence)
}

function subjectOf(create: typeof createSampleVerifier, write: typeof sampleEvidence): Subject {
  const evidence = write(reportData)
  const genuine = { verifier: create({ enabled: true }), evidence, request }
  const scenario = scenariosOf(genuine)
  return {
    genuine,
    failures: [
      scenario('not enabled', () => ({ verifier: create() })),
      scenario('no version', () => ({ evidence: { ...evidence, svn: null } })),
      scenario('report data that is not base64', () => ({ evidence: { ...evidence, report_data: '*' } })),
      scenario('report data of another session', () => ({ evidence: write(Buffer.alloc(48, 4)) })),
      scenario('expected report data of no bytes', () => ({
        request: { ...request, expectedReportData: new Uint8Array() },
      })),
    ],
  }
}
