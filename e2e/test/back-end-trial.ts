import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BackEnd, OpenBackEnd } from '../src/back-ends/back-end.ts'
import { type Expectation, type Fault, faults } from '../src/back-ends/faults.ts'
import { Secrets } from '../src/leaks.ts'
import type { LogLine } from '../src/program.ts'

const errors = 'https://github.com/confidential-containers/kbs/errors/'
/** As long as `/readyz` repeats itself, and a little more. */
const readinessCacheMs = 1_100
const recoveryMs = 15_000
/** A fault may show as a connection that is gone at first. */
const causeMs = 4_000

/**
 * Tries a row of the table, fault by fault, on one running program: the guest has its secret; then the fault, with its
 * answer, its line in the log and its readiness; then the guest has its secret again, and nobody has touched anything.
 */
export function tryBackEnd<Stage>(row: BackEnd<Stage>, stage: () => Stage): void {
  const runs = row.available?.() ?? true
  describe(row.name, { concurrent: true, skip: !runs }, () => {
    let backEnd: OpenBackEnd
    beforeAll(async () => {
      backEnd = await row.open(stage())
    }, 60_000)
    afterAll(() => backEnd?.close())

    describe('fails', { concurrent: false }, () => {
      // time limits are short here, and whoever asks first waits for what is loaded then
      it('not at first: the guest gets its secret', () => expectRecovery(backEnd, 'read'), 60_000)

      for (const fault of faults) {
        const expected = row.expectations[fault]
        if (typeof expected === 'string') continue
        it(titleOf(fault, expected), () => tryFault(backEnd, fault, expected), 60_000)
      }

      it('without a word of what is confidential in its log', () => {
        const confidential = new Secrets()
        for (const [index, text] of backEnd.confidential.entries()) confidential.add(`text ${index}`, text)
        confidential.addBytes('the secret', backEnd.secret)
        expect(confidential.foundIn(backEnd.kbs.output())).toEqual([])
      })
    })
  })
}

function titleOf(fault: Fault, { on, status = 503, ready }: Expectation): string {
  const who = on === 'write' ? 'the administrator' : 'the guest'
  return `${fault}: ${status} for ${who}, ${ready === 200 ? 'ready' : 'not ready'}, and recovers`
}

async function tryFault(backEnd: OpenBackEnd, fault: Fault, expected: Expectation): Promise<void> {
  const { on = 'read' } = expected
  const strayed = backEnd.strayed?.() ?? 0
  const mend = await backEnd.begin(fault)
  try {
    await expectFailure(backEnd, expected)
    if (on === 'write')
      expect(Buffer.from(await backEnd.guest()), 'guests read on').toEqual(Buffer.from(backEnd.secret))
    // what was cached of a better time is no answer: once for each row
    if (fault === 'down') await delay(readinessCacheMs)
    expect(await settled(() => readiness(backEnd), expected.ready, 6_000), '/readyz').toBe(expected.ready)
    expect(backEnd.strayed?.() ?? 0, 'went where a redirect leads').toBe(strayed)
  } finally {
    await mend()
  }
  await expectRecovery(backEnd, on)
}

/**
 * Every answer is the one that is expected, and says nothing but that it cannot be. The log says why, under the answer's
 * request id; not for the first request always, which may only find that a connection is gone.
 */
async function expectFailure(backEnd: OpenBackEnd, expected: Expectation): Promise<void> {
  let cause = ''
  const named = await settled(
    async () => {
      cause = await causeOf(backEnd, await backEnd.ask(expected.on ?? 'read'), expected)
      return expected.log.test(cause)
    },
    true,
    causeMs,
  )
  expect(named, `the log names another cause than ${expected.log}: ${cause}`).toBe(true)
}

/** What the log gives for the cause of an answer, which is checked. */
async function causeOf(backEnd: OpenBackEnd, answer: Response, expected: Expectation): Promise<string> {
  const { status = 503, kind = 'ServiceUnavailable', reason } = expected
  const text = await answer.text()
  expect(answer.status, text).toBe(status)
  expect(answer.headers.get('content-type')).toBe('application/json')
  const body = JSON.parse(text) as { readonly instance: string }
  expect(body).toEqual({
    type: `${errors}${kind}`,
    detail: expect.stringMatching(/^[A-Za-z ,;:]+$/),
    ...(reason === undefined ? {} : { reason: expect.stringMatching(reason) }),
    title: expect.any(String),
    status,
    instance: expect.stringMatching(/^urn:uuid:/),
  })
  if (status === 503) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  const requestId = body.instance.slice('urn:uuid:'.length)
  const line = await backEnd.kbs.logged(
    (each: LogLine) => each.requestId === requestId && each.problem === kind && each.status === status,
  )
  return withoutStack(line.err ?? line.reason)
}

/** An error as the log has it: its message and those of its causes. */
function withoutStack(error: unknown): string {
  return JSON.stringify(error, (key, value: unknown) => (key === 'stack' ? undefined : value))
}

async function expectRecovery(backEnd: OpenBackEnd, on: 'read' | 'write'): Promise<void> {
  const guest = () =>
    backEnd.guest().then(
      (secret) => (Buffer.from(secret).equals(backEnd.secret) ? 'has its secret' : 'has something else'),
      (error: unknown) => String(error),
    )
  expect(await settled(guest, 'has its secret', recoveryMs), 'the guest').toBe('has its secret')
  if (on === 'write') {
    const write = async () => (await backEnd.ask('write')).status
    expect(await settled(write, 200, recoveryMs), 'the administrator').toBe(200)
  }
  expect(await settled(() => readiness(backEnd), 200, recoveryMs), '/readyz').toBe(200)
}

async function readiness({ kbs }: OpenBackEnd): Promise<number> {
  return (await fetch(`${kbs.url}/readyz`)).status
}

/** What `probe` says once it is what is wanted, or what it says last. */
async function settled<T>(probe: () => Promise<T>, wanted: T, timeoutMs: number): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await probe()
    if (found === wanted || performance.now() > deadline) return found
    await delay(100)
  }
}
