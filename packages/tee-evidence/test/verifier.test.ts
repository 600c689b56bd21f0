import { describe, expect, it } from 'vitest'
import { blamingSource, type Check, CheckRun, EvidenceRejected, fail, failForOutage } from '../src/index.ts'

const checks: readonly Check[] = ['first', 'second', 'third'].map((name) => ({
  name,
  source: 'this test',
  codes: ['INPUT_INVALID'],
  protects: 'Nothing.',
}))

function rejectionIn(make: (run: CheckRun) => void, run = new CheckRun(checks)): EvidenceRejected {
  try {
    make(run)
  } catch (error) {
    if (error instanceof EvidenceRejected) return error
    throw error
  }
  throw new Error('nothing was rejected')
}

describe('a run over the checks of a verifier', () => {
  it('rejects with the failed check and with the names of those that had passed, in order', () => {
    const rejection = rejectionIn((run) => {
      run.make('second', () => undefined)
      run.make('first', () => undefined)
      run.make('third', () => fail('REPORT_DATA_MISMATCH', 'not the nonce'))
    })
    expect(rejection).toMatchObject({
      code: 'REPORT_DATA_MISMATCH',
      check: 'third',
      detail: 'not the nonce',
      passed: ['second', 'first'],
    })
  })

  it('counts nothing as passed when the first check fails, or cannot be made', () => {
    expect(rejectionIn((run) => run.make('first', () => fail('INPUT_INVALID', ''))).passed).toEqual([])
    const broken = rejectionIn((run) =>
      run.make('first', () => {
        throw new RangeError('a bug')
      }),
    )
    expect(broken).toMatchObject({ code: 'INPUT_INVALID', check: 'first', passed: [] })
  })

  it('does the same for checks that wait', async () => {
    const run = new CheckRun(checks)
    await run.makeAsync('first', async () => undefined)
    const failing = run.makeAsync('second', async () => fail('COLLATERAL_UNAVAILABLE', 'nobody answers'))
    await expect(failing).rejects.toMatchObject({ check: 'second', passed: ['first'] })
  })

  it('says of the fault of a source that it is no verdict, and of nothing else', async () => {
    const run = new CheckRun(checks)
    const ofSource = () => failForOutage('COLLATERAL_UNAVAILABLE', 'nobody answers')
    await expect(run.makeAsync('second', async () => ofSource())).rejects.toMatchObject({ outage: true })
    const blamed = rejectionIn((other) =>
      other.make('second', () => blamingSource(() => fail('CRL_TOO_OLD', ''))),
    )
    expect(blamed).toMatchObject({ code: 'CRL_TOO_OLD', outage: true })
    expect(rejectionIn((other) => other.make('second', () => fail('CRL_TOO_OLD', ''))).outage).toBe(false)
  })

  it('keeps what a rejection says when checks are made after it', () => {
    const run = new CheckRun(checks)
    const rejection = rejectionIn(() => run.make('first', () => fail('INPUT_INVALID', '')), run)
    run.make('second', () => undefined)
    expect(rejection.passed).toEqual([])
  })

  it('gives the failure of an attempted check, and does not count it as passed', () => {
    const run = new CheckRun(checks)
    expect(run.attempt('first', () => undefined)).toBeUndefined()
    expect(run.attempt('second', () => fail('CRL_TOO_OLD', 'old'))).toMatchObject({ code: 'CRL_TOO_OLD' })
    expect(run.passed).toEqual(['first'])
  })

  it('rejects when an attempted check cannot be made', () => {
    const broken = rejectionIn((run) =>
      run.attempt('first', () => {
        throw new RangeError('a bug')
      }),
    )
    expect(broken).toMatchObject({ check: 'first', detail: 'the check could not be made' })
  })
})
