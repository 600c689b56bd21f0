/** Issue text, property tests: evidence of which any signed bit is another one is rejected, with the typed rejection. */
import type { JsonObject, JsonValue } from '@passport-kbs/protocol'
import {
  createAzureSnpVtpmVerifier,
  createAzureTdxVtpmVerifier,
  createCsvVerifier,
  createDcap,
  createSgxVerifier,
  createSnpVerifier,
  createTdxVerifier,
  EvidenceRejected,
  fixedCollateral,
  hygonRoot,
  intelRoot,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import {
  createVirtualAzureSnpVm,
  createVirtualAzureTdxVm,
  createVirtualHygonChip,
  createVirtualHygonRoot,
  createVirtualIntel,
  createVirtualSnpMachine,
  enclaveEvidence,
  tdEvidence,
} from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import { Random } from '../src/fuzz/random.ts'

const now = new Date('2026-01-15T12:00:00Z')
const reportData = new Uint8Array(48).fill(7)
const initDataDigest = new Uint8Array(32).fill(9)
const flips = 400

type Range = readonly [start: number, end: number]

/** A string or an array of bytes in the evidence, and which of its bytes are signed, or hashed into what is signed. */
interface SignedPart {
  readonly path: readonly string[]
  readonly encoding: 'hex' | 'base64' | 'base64url' | 'pem' | 'bytes'
  readonly ranges: (bytes: Buffer) => readonly Range[]
}

/** Members that are signed as numbers and arrays, wherever they are below. */
interface SignedMembers {
  readonly path: readonly string[]
  readonly leaves: true
}

interface Case {
  readonly name: string
  readonly verifier: Verifier
  readonly evidence: JsonObject
  readonly parts: readonly (SignedPart | SignedMembers)[]
  readonly expectsInitData?: boolean
}

const whole = (bytes: Buffer): Range[] => [[0, bytes.length]]
const at =
  (...ranges: Range[]) =>
  () =>
    ranges

/** The part of a certificate that its issuer signs; certificates here have lengths of two bytes. */
function tbsCertificate(der: Buffer): Range[] {
  return [[4, 8 + der.readUInt16BE(6)]]
}

const snpReport = 0x20
const variableData = 0x4d4
/** SNP report, its signature, and the variable data that its report data hash. */
function snpHclReport(hcl: Buffer): Range[] {
  const signature = snpReport + 0x2a0
  return [
    [snpReport, snpReport + 0x2a0],
    [signature, signature + 48],
    [signature + 72, signature + 120],
    [variableData, variableData + hcl.readUInt32LE(0x4d0)],
  ]
}

function variables(hcl: Buffer): Range[] {
  return [[variableData, variableData + hcl.readUInt32LE(0x4d0)]]
}

/** TD quote version 4: header and body, signature, attestation key, report of the quoting enclave, authentication data. */
const tdQuote = at([0, 632], [636, 764], [770, 1218], [1220, 1252])
/** Of version 5 with a TDX 1.5 body. */
const tdQuote5 = at([0, 702], [706, 834], [840, 1288], [1290, 1322])
/** Of an enclave: version 3. */
const enclaveQuote = at([0, 432], [436, 1012], [1014, 1046])

const tpmQuoteParts = (quote: string): SignedPart[] => [
  { path: [quote, 'message'], encoding: 'hex', ranges: whole },
  { path: [quote, 'signature'], encoding: 'hex', ranges: whole },
  ...Array.from({ length: 24 }, (_, index): SignedPart => {
    return { path: [quote, 'pcrs', String(index)], encoding: 'hex', ranges: whole }
  }),
]

function cases(): Case[] {
  const machines = (['Milan', 'Genoa', 'Turin'] as const).map((generation) =>
    createVirtualSnpMachine({ generation, now }),
  )
  const vm = createVirtualAzureSnpVm({ generation: 'Genoa', now })
  const intel = createVirtualIntel(now)
  const root = intelRoot(intel.rootCertificate)
  const platform = intel.platform()
  const dcap = (tee: 'tdx' | 'sgx') =>
    createDcap({ root, collateral: fixedCollateral(intel.collateral({ tee })) })
  const hygon = createVirtualHygonRoot()
  const chip = createVirtualHygonChip({ root: hygon })
  const csvVerifier = createCsvVerifier({ root: hygonRoot(hygon.certificate) })
  const csvChain: SignedMembers[] = ['hsk', 'cek'].map((name) => {
    return { path: ['cert_chain', 'hsk_cek', name, 'body'], leaves: true }
  })
  const asJson = (evidence: object) => ({ ...evidence }) as JsonObject
  return [
    ...machines.map((machine): Case => {
      return {
        name: `snp, ${machine.generation}`,
        verifier: createSnpVerifier({ roots: machine.roots }),
        evidence: machine.evidence({ reportData, initDataDigest }),
        parts: [
          { path: ['attestation_report'], leaves: true },
          { path: ['cert_chain', '0', 'data'], encoding: 'bytes', ranges: tbsCertificate },
        ],
        expectsInitData: true,
      }
    }),
    {
      name: 'az-snp-vtpm',
      verifier: createAzureSnpVtpmVerifier({ roots: vm.roots }),
      evidence: vm.evidence({ reportData, initDataDigest }),
      parts: [
        ...tpmQuoteParts('tpm_quote'),
        { path: ['hcl_report'], encoding: 'base64url', ranges: snpHclReport },
        { path: ['vcek'], encoding: 'pem', ranges: tbsCertificate },
      ],
      expectsInitData: true,
    },
    {
      name: 'tdx, version 4',
      verifier: createTdxVerifier({ dcap: dcap('tdx') }),
      evidence: asJson(tdEvidence(platform, { reportData })),
      parts: [{ path: ['quote'], encoding: 'base64', ranges: tdQuote }],
    },
    {
      name: 'tdx, version 5',
      verifier: createTdxVerifier({ dcap: dcap('tdx') }),
      evidence: asJson(tdEvidence(platform, { reportData, version: 5 })),
      parts: [{ path: ['quote'], encoding: 'base64', ranges: tdQuote5 }],
    },
    {
      name: 'sgx',
      verifier: createSgxVerifier({ dcap: dcap('sgx') }),
      evidence: asJson(enclaveEvidence(platform, { reportData })),
      parts: [{ path: ['quote'], encoding: 'base64', ranges: enclaveQuote }],
    },
    {
      name: 'az-tdx-vtpm',
      verifier: createAzureTdxVtpmVerifier({ dcap: dcap('tdx') }),
      evidence: createVirtualAzureTdxVm(platform).evidence({ reportData, initDataDigest }),
      parts: [
        ...tpmQuoteParts('tpm_quote'),
        { path: ['hcl_report'], encoding: 'base64url', ranges: variables },
        { path: ['td_quote'], encoding: 'base64url', ranges: tdQuote },
      ],
      expectsInitData: true,
    },
    {
      name: 'csv, version 1',
      verifier: csvVerifier,
      evidence: chip.evidence({ reportData, version: 1 }),
      parts: [
        // report, its r and s, the signed part of the PEK certificate
        {
          path: ['attestation_report', 'data'],
          encoding: 'bytes',
          ranges: at([0, 180], [192, 224], [264, 296], [336, 1380]),
        },
        ...csvChain,
      ],
    },
    {
      name: 'csv, version 2',
      verifier: csvVerifier,
      evidence: chip.evidence({ reportData, version: 2 }),
      parts: [
        {
          path: ['attestation_report', 'data'],
          encoding: 'bytes',
          ranges: at([0, 1056], [1096, 1128], [1168, 2212]),
        },
        ...csvChain,
      ],
    },
  ]
}

describe.each(cases())('evidence of $name', ({ verifier, evidence, parts, expectsInitData }) => {
  const request = {
    now,
    expectedReportData: reportData,
    ...(expectsInitData === true ? { expectedInitDataDigest: initDataDigest } : {}),
  }

  it('is accepted as it is', async () => {
    await expect(verifier.verify(evidence, request)).resolves.toHaveLength(1)
  })

  it(`is rejected with any signed bit flipped: ${flips} of them`, async () => {
    const random = new Random(20260115)
    for (let count = 0; count < flips; count += 1) {
      const flipped = structuredClone(evidence)
      const place = flipBit(flipped, parts[count % parts.length], random)
      const error = await verifier.verify(flipped, request).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      if (!(error instanceof EvidenceRejected)) {
        throw error ?? new Error(`accepted with a flipped bit: ${place}`)
      }
    }
  }, 120_000)
})

/** Flips one bit of `evidence`; gives where, for the message of a failure. */
function flipBit(evidence: JsonObject, part: SignedPart | SignedMembers | undefined, random: Random): string {
  if (part === undefined) throw new TypeError('no signed part')
  if ('leaves' in part) return flipLeaf(valueAt(evidence, part.path), part.path, random)
  const name = part.path.at(-1) ?? ''
  const parent = valueAt(evidence, part.path.slice(0, -1)) as Record<string, JsonValue>
  const bytes = decode(parent[name], part.encoding)
  const [start, end] = random.pick(part.ranges(bytes))
  const offset = start + random.below(end - start)
  const bit = random.below(8)
  bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit)
  parent[name] = encode(bytes, part.encoding)
  return `${part.path.join('.')}, byte ${offset}, bit ${bit}`
}

function valueAt(value: JsonValue, path: readonly string[]): JsonValue {
  return path.reduce<JsonValue>((inner, name) => (inner as Record<string, JsonValue>)[name] ?? null, value)
}

/** A number below `container`, chosen evenly by member and not by size. */
function flipLeaf(container: JsonValue, path: readonly string[], random: Random): string {
  const members = container as Record<string, JsonValue>
  const names = Object.keys(members).filter((name) => members[name] !== null)
  const name = random.pick(names)
  const value = members[name]
  const place = [...path, name]
  if (typeof value !== 'number') return flipLeaf(value ?? null, place, random)
  const bit = random.below(value > 0xff ? 31 : 8)
  members[name] = value ^ (1 << bit)
  return `${place.join('.')}, bit ${bit}`
}

function decode(value: JsonValue | undefined, encoding: SignedPart['encoding']): Buffer {
  if (encoding === 'bytes') return Buffer.from(value as number[])
  if (typeof value !== 'string') throw new TypeError('not a string')
  if (encoding !== 'pem') return Buffer.from(value, encoding)
  return Buffer.from(value.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64')
}

function encode(bytes: Buffer, encoding: SignedPart['encoding']): JsonValue {
  if (encoding === 'bytes') return [...bytes]
  if (encoding !== 'pem') return bytes.toString(encoding)
  return `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64')}\n-----END CERTIFICATE-----\n`
}
