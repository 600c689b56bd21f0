import { presets } from '@passport-kbs/policy'
import {
  createVersionHistory,
  openStorage,
  StorageUnavailable,
  type VersionHistory,
} from '@passport-kbs/storage'
import { describe, expect, it } from 'vitest'
import { openResourcePolicy } from '../src/app.ts'

async function open(changes: Partial<VersionHistory> = {}) {
  const storage = await openStorage({ type: 'Memory' })
  const history = createVersionHistory(storage.namespace('policy_history'), { owner: 'resource' })
  const replica = () =>
    openResourcePolicy({
      store: storage.namespace('kbs'),
      initial: presets.denyAll,
      timeoutMs: 1_000,
      maxAgeMs: 0,
      now: () => new Date(),
      clock: () => performance.now(),
      randomBytes: (size) => crypto.getRandomValues(new Uint8Array(size)),
      history: { ...history, ...changes },
    })
  return { history, replica, policy: await replica() }
}

describe('a change of the resource policy', () => {
  it('that cannot be recorded does not happen', async () => {
    const { policy } = await open({
      record: async () => {
        throw new StorageUnavailable('down')
      },
    })
    await expect(policy.set(presets.allowAll)).rejects.toThrow(StorageUnavailable)
    expect(await policy.get()).toBe(presets.denyAll)
  })

  it('is on record before it is in force', async () => {
    const seen: (string | undefined)[] = []
    const { policy, history } = await open({
      record: async (...version) => {
        await history.record(...version)
        seen.push(await policy.get())
      },
    })
    const sha384 = await policy.set(presets.allowAll, 'ada')
    expect(seen).toEqual([presets.denyAll])
    expect((await policy.versions())[0]).toMatchObject({ sha384, by: 'ada', origin: 'set' })
  })

  it('by a rollback is seen by other replicas', async () => {
    const { policy, replica } = await open()
    const other = await replica()
    const first = await policy.set(presets.affirming)
    await policy.set(presets.allowAll)
    expect(await other.rollBack(first, 'bob')).toBe(true)
    expect(await policy.get()).toBe(presets.affirming)
    const question = { plugin: 'resource', method: 'GET', resourcePath: ['a', 'b', 'c'], query: {} }
    expect(await policy.decide({}, question)).toMatchObject({ allowed: false, policySha384: first })
  })

  it('without a history is possible, and leaves none', async () => {
    const storage = await openStorage({ type: 'Memory' })
    const policy = await openResourcePolicy({
      store: storage.namespace('kbs'),
      initial: presets.denyAll,
      timeoutMs: 1_000,
      maxAgeMs: 0,
      now: () => new Date(),
      clock: () => performance.now(),
      randomBytes: (size) => crypto.getRandomValues(new Uint8Array(size)),
    })
    const sha384 = await policy.set(presets.allowAll)
    expect(await policy.versions()).toEqual([])
    expect(await policy.rollBack(sha384)).toBe(false)
  })
})
