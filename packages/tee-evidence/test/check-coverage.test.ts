/**
 * For each check of each verifier there is a test in which that check alone fails; this file fails where there is none.
 *
 * Every verifier is made with all its optional checks switched on, and every single defect that a virtual machine, its
 * vendor, the request or the rules of the operator can have is tried on it. That a check fails alone is shown in two steps:
 * the rejection says that every check before it had passed, and the same evidence is accepted when what the check gave for
 * the genuine evidence stands in for the failure, so that every check after it passes, too. Where a later check relies on
 * an earlier one, and so cannot pass (`reliesOn`), all between the two pass.
 */
import type { Tee } from '@passport-kbs/protocol'
import { beforeAll, describe, expect, it } from 'vitest'
import * as teeEvidence from '../src/index.ts'
import { EvidenceRejected } from '../src/index.ts'
import { azureSnpSubject, snpSubject } from './single-failures/amd.ts'
import { type CheckValues, recordChecks, verifyWithout } from './single-failures/check-stand-in.ts'
import { csvSubject } from './single-failures/hygon.ts'
import { azureTdxSubject, sgxSubject, tdxSubject } from './single-failures/intel.ts'
import { sampleDeviceSubject, sampleSubject } from './single-failures/sample.ts'
import type { Attempt, Subject } from './single-failures/subject.ts'
import { tpmSubject } from './single-failures/tpm.ts'

const subjects: Readonly<Partial<Record<Tee, () => Subject>>> = {
  snp: snpSubject,
  'az-snp-vtpm': azureSnpSubject,
  tpm: tpmSubject,
  tdx: tdxSubject,
  'az-tdx-vtpm': azureTdxSubject,
  sgx: sgxSubject,
  csv: csvSubject,
  sample: sampleSubject,
  sampledevice: sampleDeviceSubject,
}

/** By check: the later one that refuses to work with what that check has refused. */
const reliesOn: Readonly<Partial<Record<string, string>>> = {
  // the key of a chain is only given out once chain and profile have passed
  'certificate-chain': 'report-signature',
  'certificate-profile': 'report-signature',
  // there are no fields to read behind a header that is not there
  'quote-header': 'quote-structure',
  // there is no register to extend with an event that none binds
  'event-log-binding': 'event-log-replay',
}

interface Failure {
  readonly scenario: string
  /** Undefined: accepted. */
  readonly rejection: EvidenceRejected | undefined
  /** Whether the evidence passes all else when this check cannot fail. */
  readonly alone: boolean
}

async function rejectionOf({ verifier, evidence, request }: Attempt): Promise<EvidenceRejected | undefined> {
  try {
    await verifier.verify(evidence, request)
    return undefined
  } catch (error) {
    if (error instanceof EvidenceRejected) return error
    throw error
  }
}

async function failsAlone(check: string, attempt: Attempt, genuine: CheckValues): Promise<boolean> {
  try {
    await verifyWithout(check, attempt, genuine)
    return true
  } catch (error) {
    return error instanceof EvidenceRejected && error.check === reliesOn[check]
  }
}

async function tryAll({ failures }: Subject, genuine: CheckValues): Promise<Failure[]> {
  const tried: Failure[] = []
  for (const { name, make } of failures) {
    const attempt = make()
    const rejection = await rejectionOf(attempt)
    const alone = rejection !== undefined && (await failsAlone(rejection.check, attempt, genuine))
    tried.push({ scenario: name, rejection, alone })
  }
  return tried
}

describe.each(Object.entries(subjects))('%s', (tee, subjectOf) => {
  const subject = subjectOf()
  const { checks } = subject.genuine.verifier
  const names = checks.map(({ name }) => name)
  let order: readonly string[] = []
  let tried: readonly Failure[] = []

  beforeAll(async () => {
    const { entry, values } = await recordChecks(subject.genuine)
    order = entry.passed
    tried = await tryAll(subject, values)
  }, 30_000)

  it('is tried with a verifier that makes every check on its list', () => {
    expect(subject.genuine.verifier.tee).toBe(tee)
    expect([...order].sort()).toEqual([...names].sort())
  })

  it('refuses every defect, after all checks before the one that names it have passed', () => {
    const wrong = tried.filter(({ rejection }) => {
      const passed = rejection && order.slice(0, order.indexOf(rejection.check))
      return JSON.stringify(rejection?.passed) !== JSON.stringify(passed) || rejection === undefined
    })
    expect(wrong.map(({ scenario, rejection }) => `${scenario}: ${rejection ?? 'accepted'}`)).toEqual([])
  })

  it('refuses with codes that the check states', () => {
    const codes = new Map(checks.map((check) => [check.name, check.codes]))
    const unstated = tried.filter(
      ({ rejection }) => rejection && !codes.get(rejection.check)?.includes(rejection.code),
    )
    expect(
      unstated.map(({ scenario, rejection }) => `${scenario}: ${rejection?.check} ${rejection}`),
    ).toEqual([])
  })

  it('has no check without a defect that it refuses', () => {
    const refusing = new Set(tried.map(({ rejection }) => rejection?.check))
    const uncovered = names.filter((name) => !refusing.has(name))
    expect(uncovered, `checks of ${tee} that no test has fail: ${uncovered.join(', ')}`).toEqual([])
  })

  it('has no check without a defect for which it alone fails', () => {
    const alone = new Set(tried.filter((failure) => failure.alone).map(({ rejection }) => rejection?.check))
    const uncovered = names.filter((name) => !alone.has(name))
    expect(uncovered, `checks of ${tee} that no test has fail alone: ${uncovered.join(', ')}`).toEqual([])
  })
})

it('covers every verifier of the package', () => {
  const factories = Object.keys(teeEvidence).filter((name) => /^create.*Verifier$/.test(name))
  expect(factories, `one entry in subjects for each of ${factories.join(', ')}`).toHaveLength(
    Object.keys(subjects).length,
  )
})
