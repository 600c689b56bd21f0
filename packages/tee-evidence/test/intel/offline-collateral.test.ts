import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pcsToolFile, tdEvidence } from '@passport-kbs/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createDcap,
  createTdxVerifier,
  type IntelRoot,
  intelSgxRootCa,
  offlineFileCollateral,
  type TcbUpdateType,
  type WatchedFile,
  watchedFile,
} from '../../src/index.ts'
import { vectorBytes, vectorJson, vectors } from '../eventlog/vectors.ts'
import { fmspc, intel, now, platform, rejection, root } from './virtual-machine.ts'

const evidence = tdEvidence(platform, { reportData: new Uint8Array(48) })
const standard = { tee: 'tdx', fmspc, collateral: intel.collateral({ evaluationDataNumber: 7 }) } as const
const early = {
  tee: 'tdx',
  fmspc,
  collateral: intel.collateral({ evaluationDataNumber: 8 }),
  early: true,
} as const

/** A file that never changes. */
const fixedFile = (bytes: Uint8Array): WatchedFile => ({ version: async () => '1', read: async () => bytes })

async function evaluationNumber(
  file: WatchedFile,
  update: TcbUpdateType = 'early',
  anchor: IntelRoot = root,
) {
  const dcap = createDcap({ root: anchor, collateral: offlineFileCollateral(file, update) })
  const [entry] = await createTdxVerifier({ dcap }).verify(evidence, { now })
  return entry?.claims.tcb_eval_num
}

describe('An offline file', () => {
  test.each([undefined, 2])('as the tool writes it, indented by %s, is understood', async (indent) => {
    expect(await evaluationNumber(fixedFile(pcsToolFile([standard], indent)))).toBe(7)
  })

  test('gives the early documents to those who want them, else the standard ones', async () => {
    const both = pcsToolFile([standard, early])
    const merged = JSON.parse(Buffer.from(both).toString())
    merged.collaterals.tcbinfos = [Object.assign({}, ...merged.collaterals.tcbinfos)]
    const file = fixedFile(Buffer.from(JSON.stringify(merged)))
    expect(await evaluationNumber(file, 'early')).toBe(8)
    expect(await evaluationNumber(file, 'standard')).toBe(7)
  })

  test('with early documents only has none for those who want the standard ones', async () => {
    const missing = rejection(evaluationNumber(fixedFile(pcsToolFile([early])), 'standard'))
    expect(await missing).toMatchObject({ code: 'COLLATERAL_UNAVAILABLE', outage: false })
  })

  test('may hold an identity as a JSON string, and members that nobody knows', async () => {
    const content = JSON.parse(Buffer.from(pcsToolFile([standard])).toString())
    content.collaterals.tdqeidentity = JSON.stringify(content.collaterals.tdqeidentity)
    content.collaterals.more = [{ a: 'tdqeidentity": {' }]
    expect(await evaluationNumber(fixedFile(Buffer.from(JSON.stringify(content))))).toBe(7)
  })

  test.each(['tcbinfos', 'tdqeidentity', 'pckcacrl', 'rootcacrl', 'certificates'])(
    'without %s: COLLATERAL_UNAVAILABLE',
    async (name) => {
      const content = JSON.parse(Buffer.from(pcsToolFile([standard])).toString())
      delete content.collaterals[name]
      const file = fixedFile(Buffer.from(JSON.stringify(content)))
      const missing = { code: 'COLLATERAL_UNAVAILABLE', outage: false }
      expect(await rejection(evaluationNumber(file))).toMatchObject(missing)
    },
  )

  test.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['no collaterals', '{}'],
    ['a member twice', '{"collaterals":{},"collaterals":{}}'],
    ['numbers for texts', '{"collaterals":{"tcbinfos":[{"fmspc":7}],"rootcacrl":7}}'],
  ])('of %s: COLLATERAL_UNAVAILABLE', async (_name, content) => {
    const seen = await rejection(evaluationNumber(fixedFile(Buffer.from(content))))
    expect(seen).toMatchObject({ code: 'COLLATERAL_UNAVAILABLE', outage: true })
  })

  test('of another platform: COLLATERAL_UNAVAILABLE', async () => {
    const other = pcsToolFile([{ ...standard, fmspc: '000000000000' }])
    const missing = { code: 'COLLATERAL_UNAVAILABLE', outage: false }
    expect(await rejection(evaluationNumber(fixedFile(other)))).toMatchObject(missing)
  })

  test('that is edited is refused like any collateral', async () => {
    const edited = Buffer.from(pcsToolFile([standard]))
      .toString()
      .replace('"OutOfDate"', '"UpToDate"')
    expect(await rejection(evaluationNumber(fixedFile(Buffer.from(edited))))).toMatchObject({
      code: 'COLLATERAL_SIGNATURE_INVALID',
      outage: true,
    })
  })
})

describe('An offline file on the disk', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'offline-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('is read again when it is replaced, and missed when it goes', async () => {
    const path = join(folder, 'collateral.json')
    await writeFile(path, pcsToolFile([standard]))
    const file = watchedFile(path)
    const dcap = createDcap({ root, collateral: offlineFileCollateral(file, 'early') })
    const verifier = createTdxVerifier({ dcap })
    const number = async () => (await verifier.verify(evidence, { now }))[0]?.claims.tcb_eval_num
    expect(await number()).toBe(7)
    await writeFile(`${path}.new`, pcsToolFile([early, standard].slice(0, 1)))
    await rename(`${path}.new`, path)
    expect(await number()).toBe(8)
    await rm(path)
    expect(await rejection(number())).toMatchObject({ code: 'COLLATERAL_UNAVAILABLE', outage: false })
  })

  test('may be a directory by mistake: COLLATERAL_UNAVAILABLE', async () => {
    const unreadable = { code: 'COLLATERAL_UNAVAILABLE', outage: true }
    expect(await rejection(evaluationNumber(watchedFile(folder)))).toMatchObject(unreadable)
    const beyond = watchedFile(join(folder, 'x'.repeat(300)))
    expect(await rejection(evaluationNumber(beyond))).toMatchObject(unreadable)
  })
})

test.skipIf(vectors === undefined)('the published offline file gives the published claims', async () => {
  const file = fixedFile(vectorBytes('tdx', 'platform_collaterals.json'))
  const dcap = createDcap({ root: intelSgxRootCa, collateral: offlineFileCollateral(file, 'early') })
  const at = new Date('2026-03-01T00:00:00Z')
  const [entry] = await createTdxVerifier({ dcap }).verify(vectorJson('tdx', 'evidence-90c0.json'), {
    now: at,
  })
  expect(JSON.parse(JSON.stringify(entry?.claims))).toEqual(
    JSON.parse(JSON.stringify(vectorJson('tdx', 'claims', '90c0.claims.json'))),
  )
})
