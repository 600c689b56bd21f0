import { type PostgresServer, postgresAvailable } from '@passport-kbs/testing/postgres'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Program } from '../src/program.ts'
import type { Tolerance } from '../src/replicas/faults.ts'
import { type Replica, startAll } from '../src/replicas/replicas.ts'
import {
  commandTimeoutMs,
  evaluationTimeoutMs,
  type Replicated,
  type ReplicatedPassportMode,
  startReplicatedBackgroundCheck,
  startReplicatedPassportMode,
} from '../src/replicas/replicated.ts'
import { operations, ReplicaTrial } from '../src/replicas/trial.ts'

/** Within this time after a fault everything works again, without hands. */
const recoveryLimit = 10_000
/** `/attest` asks Redis three times and the attestation service once. */
const longestMs = 3 * commandTimeoutMs + evaluationTimeoutMs

const { attestation, evaluation, resources } = operations
const cutAnywhere: Tolerance = { cut: [...attestation, ...resources] }

/** Whether the replica says that it is not ready, and for which reasons. */
async function unreadiness({ url }: Replica): Promise<readonly string[]> {
  const answer = await fetch(`${url}/readyz`)
  const { checks } = (await answer.json()) as { readonly checks: Readonly<Record<string, string>> }
  const failing = Object.keys(checks).filter((name) => checks[name] === 'failing')
  expect(answer.status, JSON.stringify(checks)).toBe(failing.length === 0 ? 200 : 503)
  return failing
}

const hasRedisAndPostgres = redisAvailable() && postgresAvailable()

/** What holds for both modes of deployment; `more` has the tests of one of them. */
function replicasUnderLoad<Installation extends Replicated>(
  start: () => Promise<Installation>,
  more: (given: { readonly installation: () => Installation; readonly trial: () => ReplicaTrial }) => void,
) {
  let installation: Installation
  let trial: ReplicaTrial
  const drained: Program[] = []

  beforeAll(async () => {
    installation = await start()
    trial = new ReplicaTrial(installation)
    await trial.begin()
  }, 120_000)
  afterAll(async () => {
    await trial?.end().catch(() => {})
    await installation?.close()
    if (process.env.KBS_E2E_REPORT !== undefined && trial !== undefined) report(trial)
  }, 60_000)

  const recover = (name: string, tolerated: Tolerance, happen: () => Promise<void>) =>
    trial.faults.happen({ name, tolerated, happen, probes: trial.probes(), recoveryLimit })
  const everyPair = (): readonly (readonly Replica[])[] =>
    [
      ...new Set([installation.services, installation.attestation.replicas, installation.resources.replicas]),
    ].filter(({ length }) => length > 0)
  const nth = (index: 0 | 1) => everyPair().flatMap((pair) => pair.slice(index, index + 1))
  const unavailable = (from: readonly string[]) =>
    trial.journal.next(({ outcome, operation }) => outcome === 'unavailable' && from.includes(operation))

  it('one replica of each program is killed: the others go on, and successors join them', async () => {
    // a call of the attestation service is made again on another connection, but not without end
    const tolerated = { ...cutAnywhere, unavailable: installation.services.length > 0 ? evaluation : [] }
    await recover('one replica of each program is killed', tolerated, async () => {
      await Promise.all(nth(0).map(({ program }) => program.kill()))
      for (const operation of ['attest', 'read', 'resource', 'reference-value'])
        await trial.journal.next((seen) => seen.operation === operation && seen.outcome === 'done')
      await startAll(nth(0))
    })
  }, 40_000)

  it('one replica of each program is told to stop: it ends in good order while it is asked', async () => {
    await recover('one replica of each program is told to stop', cutAnywhere, async () => {
      drained.push(...nth(1).map(({ program }) => program))
      expect(await Promise.all(nth(1).map(({ program }) => program.stop()))).toEqual(nth(1).map(() => 0))
      await startAll(nth(1))
    })
  }, 40_000)

  it('Redis is killed: handshakes get 503, replicas say that they are not ready, sessions are kept', async () => {
    const { redis, attestation: entrance } = installation
    await recover('Redis is killed', { unavailable: attestationOrRead() }, async () => {
      await redis.kill()
      await unavailable(['auth'])
      for (const replica of entrance.replicas)
        await expect.poll(() => unreadiness(replica), { timeout: 5_000 }).toEqual(['sessions'])
      await redis.restart()
    })
  }, 30_000)

  it('Redis is shut down and started again', async () => {
    await recover('Redis is shut down and started again', { unavailable: attestationOrRead() }, () =>
      installation.redis.restart(),
    )
  }, 30_000)

  it('Redis is silent: requests wait no longer than they must', async () => {
    await recover('Redis is silent', { unavailable: attestationOrRead() }, async () => {
      installation.redis.pause()
      await unavailable(['auth'])
      installation.redis.resume()
    })
  }, 30_000)

  /** In background check, too, secrets are read in a session. */
  const attestationOrRead = () => (installation.services.length > 0 ? attestation : [...attestation, 'read'])

  const databases = (): readonly (readonly [
    PostgresServer,
    readonly string[],
    readonly Replica[],
    string,
  ])[] =>
    installation.services.length === 0
      ? [
          [
            installation.resources.postgres,
            [...evaluation, ...resources],
            installation.resources.replicas,
            'storage',
          ],
        ]
      : [
          [installation.attestation.postgres, evaluation, installation.services, 'attestation'],
          [installation.resources.postgres, resources, installation.resources.replicas, 'storage'],
        ]

  it('PostgreSQL is killed: what it has gets 503, replicas say that they are not ready', async () => {
    for (const [postgres, affected, replicas, check] of databases()) {
      await recover(`PostgreSQL (${check}) is killed`, { unavailable: affected }, async () => {
        await postgres.kill()
        await unavailable(affected)
        for (const replica of replicas)
          await expect.poll(() => unreadiness(replica), { timeout: 5_000 }).toContain(check)
        await postgres.restart()
      })
    }
  }, 40_000)

  it('PostgreSQL ends all connections: new ones are made', async () => {
    for (const [postgres, affected] of databases()) {
      await recover('PostgreSQL ends all connections', { unavailable: affected }, async () => {
        await postgres.sql(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
        )
      })
    }
  }, 30_000)

  more({ installation: () => installation, trial: () => trial })

  it('the balancers are started again: clients connect anew', async () => {
    const tolerated = { ...cutAnywhere, unavailable: installation.services.length > 0 ? evaluation : [] }
    await recover('the balancers are started again', tolerated, async () => {
      await Promise.all(installation.balancers.map((balancer) => balancer.restart()))
    })
  }, 30_000)

  describe('afterwards', () => {
    beforeAll(() => trial.end())

    it('no request has failed but those that could not be answered, and these with a clear error', () => {
      expect(trial.faults.intolerable(trial.journal, { refused: ['replay'] })).toEqual([])
    })

    it('no request has hung', () => {
      const longest = trial.journal.observations.map(({ startedAt, endedAt }) => endedAt - startedAt)
      expect(Math.max(...longest)).toBeLessThan(longestMs)
    })

    it('every request that a process had taken before it was told to stop, or after, was answered', () => {
      expect(trial.unheard(drained)).toEqual([])
    })

    it('no nonce was accepted twice, nor is now', async () => {
      expect(trial.attempts.length).toBeGreaterThan(20)
      expect(await trial.acceptedTwice()).toEqual([])
    }, 60_000)

    it('every passport is in an audit trail, once, and for no nonce are there two', () => {
      expect(trial.mints()).toEqual({ unrecorded: [], twice: [], forOneNonce: [] })
    })

    it('every acknowledged write is there, on every replica', async () => {
      expect(trial.ledger.acknowledged()).toBeGreaterThan(100)
      expect(await trial.losses()).toEqual([])
    })
  })
}

describe.skipIf(!hasRedisAndPostgres)('passport mode with two replicas of each program, under load', () => {
  replicasUnderLoad<ReplicatedPassportMode>(startReplicatedPassportMode, ({ installation, trial }) => {
    it('the line between the Trustees is cut: passports are accepted all the same, and a KBS2 that starts then recovers', async () => {
      const { link } = installation()
      const [replica, other] = installation().resources.replicas
      const nextRead = () =>
        trial().journal.next(({ operation, outcome }) => operation === 'read' && outcome === 'done')
      await trial().faults.happen({
        name: 'the line between the Trustees is cut while a KBS2 starts',
        tolerated: { cut: resources, unavailable: ['read'] },
        probes: trial().probes(),
        recoveryLimit,
        happen: async () => {
          await link.cut('refused')
          expect(await replica.program.stop()).toBe(0)
          await replica.start()
          expect(await unreadiness(replica)).toEqual(['passports'])
          for (const fault of ['reset', 'silent'] as const) {
            await link.cut(fault)
            await expect.poll(() => link.attempts, { timeout: 5_000 }).toBeGreaterThan(0)
            expect(await unreadiness(replica)).toEqual(['passports'])
            expect(await unreadiness(other)).toEqual([])
            await nextRead()
          }
          await link.mend()
        },
      })
    }, 40_000)
  })
})

describe.skipIf(!hasRedisAndPostgres)('background check with two replicas, under load', () => {
  replicasUnderLoad(startReplicatedBackgroundCheck, () => {})
})

/** For docs/replicas.md. */
function report({ faults, journal, ledger, attempts }: ReplicaTrial) {
  console.table(faults.recoveries)
  const counts = Map.groupBy(journal.observations, ({ operation, outcome }) => `${operation} ${outcome}`)
  console.table(Object.fromEntries([...counts].map(([name, seen]) => [name, seen.length])))
  console.log(`${ledger.acknowledged()} acknowledged writes, ${attempts.length} nonces attacked`)
}
