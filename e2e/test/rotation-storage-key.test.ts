import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createGuest, sampleAttester } from '@passport-kbs/guest-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../src/administration.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import { type Program, runKbsctl } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'

const path = 'default/test/key'

/** docs/storage.md, "Changing the key": two replicas on one store, and somebody writes and reads all the time. */
describe('the storage key is changed while two replicas serve', () => {
  let organisation: Organisation
  let [oldKey, newKey] = ['', '']
  /** Those that a balancer would choose from. */
  const replicas: Program[] = []
  const failures: string[] = []
  let rounds = 0
  let stopped = false
  let traffic: Promise<void>

  const encryption = (keyFile: string, previous: readonly string[]): ConfigTable => ({
    key_file: keyFile,
    previous_key_files: previous,
  })
  const config = (section: ConfigTable): ConfigTable => ({
    profile: 'development',
    state_dir: organisation.path('state'),
    http_server: plainHttp,
    admin: organisation.admin.config,
    attestation_service: { type: 'coco_as_builtin' },
    storage_backend: {
      storage_type: 'LocalFs',
      backends: { local_fs: { dir_path: organisation.path('storage') } },
      encryption: section,
    },
    plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
  })
  const restartAll = async (section: ConfigTable) => {
    for (const index of [0, 1]) {
      const [former] = replicas.splice(index, 1)
      // what has been sent to it is answered before it ends
      await former?.stop()
      replicas.splice(index, 0, await organisation.start('kbs', config(section)))
    }
  }
  const read = async (kbs: Program) =>
    Buffer.from(
      await createGuest({ kbsUrl: kbs.url, attester: sampleAttester() }).getResource(path),
    ).toString()
  /** One replica writes, and each must be able to read it. */
  const round = async () => {
    const [first, second] = replicas
    const writer = first ?? second
    if (writer === undefined) throw new Error('nobody serves')
    const secret = `secret ${rounds++}`
    await administer(writer.url, organisation.admin).setResource(path, secret)
    for (const reader of [...replicas]) {
      const found = await read(reader)
      if (found !== secret) throw new Error(`${found} instead of ${secret}`)
    }
  }
  const runTraffic = async () => {
    while (!stopped) {
      const taken = [...replicas]
      // whoever is stopped meanwhile is not asked any more by a balancer
      await round().catch((error: unknown) => {
        if (taken.every((kbs) => replicas.includes(kbs))) failures.push(String(error))
      })
      await delay(50)
    }
  }
  const storedText = async () => {
    const folder = organisation.path('storage/repository')
    const files = await readdir(folder)
    return Promise.all(files.map((file) => readFile(join(folder, file))))
  }

  beforeAll(async () => {
    organisation = await createOrganisation('trustee-2')
    ;[oldKey, newKey] = [organisation.path('old.key'), organisation.path('new.key')]
    for (const file of [oldKey, newKey]) {
      const { code, stderr } = await runKbsctl(['keygen', '--storage-key', file])
      expect(code, stderr).toBe(0)
    }
    for (const _ of [0, 1]) replicas.push(await organisation.start('kbs', config(encryption(oldKey, []))))
    const [first] = replicas as [Program]
    await administer(first.url, organisation.admin).setResourcePolicy(
      'package policy\n\ndefault allow := true\n',
    )
    await administer(first.url, organisation.admin).setResource('default/test/untouched', 'untouched')
    await round()
    traffic = runTraffic()
  }, 60_000)
  afterAll(async () => {
    stopped = true
    await traffic
    await organisation?.close()
  })

  it('first all can read the new key, then all write with it', async () => {
    await restartAll(encryption(oldKey, [newKey]))
    await restartAll(encryption(newKey, [oldKey]))
  }, 90_000)

  it('then what is stored is brought under it, and the old key goes', async () => {
    const configFile = await organisation.write(
      'rewrap.toml',
      await readFile(organisation.path('kbs-6.toml'), 'utf8'),
    )
    const { code, stderr } = await runKbsctl(['storage', 'rewrap', '--config-file', configFile])
    expect(code, stderr).toBe(0)
    await restartAll(encryption(newKey, []))
    stopped = true
    await traffic
    for (const replica of replicas) {
      const guest = createGuest({ kbsUrl: replica.url, attester: sampleAttester() })
      expect(Buffer.from(await guest.getResource('default/test/untouched')).toString()).toBe('untouched')
    }
  }, 60_000)

  it('and every secret could be read all the time, whichever replica had written it', async () => {
    expect(failures).toEqual([])
    expect(rounds).toBeGreaterThan(10)
    for (const stored of await storedText()) expect(stored.subarray(0, 7).toString()).toBe('PKBSenc')
  })
})
