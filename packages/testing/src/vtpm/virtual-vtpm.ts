/** A virtual TPM with an attestation key, PCRs and the paravisor's variable data: what both Azure TEEs are built on. */
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { testKey } from '../amd/authorities.ts'
import { pcrBitmap, type QuoteDraft, writeQuote } from './tpm-quote-writer.ts'

/** A key in the variable data; members can be changed or taken away. */
export type VariableDataKey = Record<string, unknown>

export interface VariableDataDraft {
  keys: VariableDataKey[]
  vmConfiguration: Record<string, unknown>
  /** Left out when undefined. */
  userData: string | undefined
}

/** Hooks of a defect in the vTPM or in what the paravisor binds; each changes one thing. */
export interface VtpmDefect {
  /** Before the JSON is written and hashed. */
  readonly variableData?: (draft: VariableDataDraft) => void
  /** The exact bytes that are hashed. */
  readonly variableBytes?: (bytes: Buffer) => Uint8Array
  /** PCR values before they are quoted. */
  readonly pcrs?: (pcrs: Uint8Array[]) => void
  /** Before signing. */
  readonly quote?: (draft: QuoteDraft, pcrs: readonly Uint8Array[]) => void
  /** Instead of RSASSA-PKCS1-v1_5 with SHA-256. */
  readonly sign?: (message: Uint8Array, key: KeyObject) => Uint8Array
  /** After signing. */
  readonly sent?: (quote: { message: Uint8Array; signature: Uint8Array; pcrs: Uint8Array[] }) => void
}

export interface VirtualVtpm {
  readonly attestationKey: KeyObject
  /** The bytes that the paravisor hashes into the hardware report data. */
  variableData(userData: Uint8Array | undefined, defect?: VtpmDefect): Buffer
  /** A quote of all PCRs. `initDataDigest`, 32 bytes, is what the guest extended PCR 8 with. */
  quote(
    nonce: Uint8Array,
    initDataDigest?: Uint8Array,
    defect?: VtpmDefect,
  ): { message: Uint8Array; signature: Uint8Array; pcrs: Uint8Array[] }
}

export function sha256(...parts: readonly Uint8Array[]): Buffer {
  return createHash('sha256').update(Buffer.concat(parts)).digest()
}

/** `tpm/vm` or `tpm/otherVm`: which of the two fixed attestation keys the TPM has. */
export function createVirtualVtpm(keyName: 'tpm/vm' | 'tpm/otherVm' = 'tpm/vm'): VirtualVtpm {
  const attestationKey = testKey(keyName)
  const measured = Array.from({ length: 24 }, (_unused, index) =>
    index === 8 || index === 16 || index === 23 ? Buffer.alloc(32) : randomBytes(32),
  )
  const vmId = randomBytes(16).toString('hex').toUpperCase()
  const endorsementModulus = randomBytes(256).toString('base64url')
  return {
    attestationKey,
    variableData(userData, defect = {}) {
      const draft = variableDataDraft({ attestationKey, endorsementModulus, vmId }, userData)
      defect.variableData?.(draft)
      const { keys, vmConfiguration, userData: text } = draft
      const json = {
        keys,
        'vm-configuration': vmConfiguration,
        ...(text === undefined ? {} : { 'user-data': text }),
      }
      const bytes = Buffer.from(JSON.stringify(json), 'utf8')
      return Buffer.from(defect.variableBytes?.(bytes) ?? bytes)
    },
    quote(nonce, initDataDigest, defect = {}) {
      const pcrs: Uint8Array[] = measured.map((pcr) => Uint8Array.from(pcr))
      if (initDataDigest !== undefined) pcrs[8] = sha256(Buffer.alloc(32), initDataDigest)
      defect.pcrs?.(pcrs)
      const draft = quoteDraft(nonce, pcrs)
      defect.quote?.(draft, pcrs)
      const message = writeQuote(draft)
      const signature = (defect.sign ?? signRsassa)(message, attestationKey)
      const sent = { message, signature, pcrs }
      defect.sent?.(sent)
      return sent
    },
  }
}

function signRsassa(message: Uint8Array, key: KeyObject): Uint8Array {
  return sign('sha256', message, key)
}

interface VtpmIdentity {
  readonly attestationKey: KeyObject
  /** base64url */
  readonly endorsementModulus: string
  readonly vmId: string
}

function variableDataDraft(
  { attestationKey, endorsementModulus, vmId }: VtpmIdentity,
  userData: Uint8Array | undefined,
): VariableDataDraft {
  const { n, e } = createPublicKey(attestationKey).export({ format: 'jwk' })
  return {
    keys: [
      { kid: 'HCLAkPub', key_ops: ['sign'], kty: 'RSA', e, n },
      { kid: 'HCLEkPub', key_ops: ['encrypt'], kty: 'RSA', e, n: endorsementModulus },
    ],
    vmConfiguration: {
      'console-enabled': true,
      'secure-boot': true,
      'tpm-enabled': true,
      'tpm-persisted': false,
      vmUniqueId: vmId,
    },
    userData: Buffer.concat([userData ?? new Uint8Array(), Buffer.alloc(64 - (userData?.length ?? 0))])
      .toString('hex')
      .toUpperCase(),
  }
}

function quoteDraft(nonce: Uint8Array, pcrs: readonly Uint8Array[]): QuoteDraft {
  return {
    magic: 0xff544347,
    type: 0x8018,
    qualifiedSigner: Buffer.concat([Uint8Array.of(0, 0x0b), randomBytes(32)]),
    extraData: nonce,
    clock: 3_513_262n,
    resetCount: 2,
    restartCount: 0,
    safe: 1,
    firmwareVersion: 0x2020_0312_0012_0003n,
    selections: [{ hash: 0x000b, bitmap: pcrBitmap(pcrs.map((_pcr, index) => index)) }],
    pcrDigest: sha256(...pcrs),
    trailing: new Uint8Array(),
  }
}

function akOf(draft: VariableDataDraft): VariableDataKey {
  const [ak] = draft.keys
  if (ak === undefined) throw new Error('no key in the variable data')
  return ak
}

/** Quotes other PCRs than all; `values` are what is sent for them. */
function quoteOf(draft: QuoteDraft, values: readonly Uint8Array[], bitmap: Uint8Array, hash = 0x000b): void {
  draft.selections = [{ hash, bitmap }]
  draft.pcrDigest = sha256(...values)
}

const lowPcrsAnd16 = [0, 1, 2, 3, 4, 5, 6, 7, 16]
const everyPcr = Uint8Array.of(0xff, 0xff, 0xff)

const attestationKeyDefects = {
  'ak-missing': {
    variableData: (draft) => {
      draft.keys.shift()
    },
  },
  'ak-kid-other-case': {
    variableData: (draft) => {
      akOf(draft).kid = 'HCLAKPub'
    },
  },
  'ak-twice': {
    variableData: (draft) => {
      draft.keys.push({ ...akOf(draft) })
    },
  },
  'ak-is-ec': {
    variableData: (draft) => {
      const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
      draft.keys[0] = { kid: 'HCLAkPub', ...jwk }
    },
  },
  'ak-of-1024-bits': {
    variableData: (draft) => {
      const jwk = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
      Object.assign(akOf(draft), { n: jwk.n })
    },
  },
  'ak-exponent-3': {
    variableData: (draft) => {
      akOf(draft).e = 'Aw'
    },
  },
  'variable-data-not-utf8': {
    variableBytes: (bytes) => Buffer.concat([bytes.subarray(0, -2), Uint8Array.of(0xff), bytes.subarray(-2)]),
  },
  'variable-data-with-bom': {
    variableBytes: (bytes) => Buffer.concat([Uint8Array.of(0xef, 0xbb, 0xbf), bytes]),
  },
  'variable-data-duplicate-key': {
    variableBytes: (bytes) => Buffer.from(bytes.toString('utf8').replace('{"keys":', '{"keys":[],"keys":')),
  },
} as const satisfies Readonly<Record<string, VtpmDefect>>

const quoteDefects = {
  'other-nonce': {
    quote: (draft) => {
      draft.extraData = randomBytes(48)
    },
  },
  'zero-padded-nonce': {
    quote: (draft) => {
      draft.extraData = Buffer.concat([draft.extraData, Buffer.alloc(64 - draft.extraData.length)])
    },
  },
  'not-a-quote': {
    quote: (draft) => {
      // TPM_ST_ATTEST_CERTIFY
      draft.type = 0x8017
    },
  },
  'wrong-attest-magic': {
    quote: (draft) => {
      draft.magic = 0xff544348
    },
  },
  'attest-trailing-byte': {
    quote: (draft) => {
      draft.trailing = Uint8Array.of(0)
    },
  },
  'seventeen-selections': {
    quote: (draft) => {
      const selection = { hash: 0x000b, bitmap: everyPcr }
      draft.selections = Array.from({ length: 17 }, () => selection)
    },
  },
  'two-selections': {
    quote: (draft) => {
      draft.selections.push({ hash: 0x0004, bitmap: everyPcr })
    },
  },
  'sha384-bank': { quote: (draft, pcrs) => quoteOf(draft, pcrs, everyPcr, 0x000c) },
  'sha1-bank': { quote: (draft, pcrs) => quoteOf(draft, pcrs, everyPcr, 0x0004) },
  'bitmap-of-four-bytes': {
    quote: (draft, pcrs) => quoteOf(draft, pcrs, Uint8Array.of(0xff, 0xff, 0xff, 0)),
  },
  'pcr-23-not-selected': { quote: (draft, pcrs) => quoteOf(draft, pcrs, Uint8Array.of(0xff, 0xff, 0x7f)) },
  'resettable-pcr-in-position-8': {
    quote: (draft, pcrs) => {
      const values = lowPcrsAnd16.map((index) => pcrs[index] ?? new Uint8Array())
      quoteOf(draft, values, pcrBitmap(lowPcrsAnd16))
    },
    sent: (quote) => {
      quote.pcrs = lowPcrsAnd16.map((index) => quote.pcrs[index] ?? new Uint8Array())
    },
  },
  'other-init-data-pcr': {
    pcrs: (pcrs) => {
      pcrs[8] = randomBytes(32)
    },
  },
} as const satisfies Readonly<Record<string, VtpmDefect>>

const sentDefects = {
  'quote-signed-with-pss': {
    sign: (message, key) => sign('sha256', message, { key, padding: constants.RSA_PKCS1_PSS_PADDING }),
  },
  'quote-signed-with-sha384': { sign: (message, key) => sign('sha384', message, key) },
  'quote-of-other-vm': { sign: (message) => sign('sha256', message, testKey('tpm/otherVm')) },
  'quote-signature-bit': {
    sent: (quote) => {
      const signature = Buffer.from(quote.signature)
      signature[0] = (signature[0] ?? 0) ^ 1
      quote.signature = signature
    },
  },
  'quote-signature-short': {
    sent: (quote) => {
      quote.signature = quote.signature.subarray(0, -1)
    },
  },
  'pcr-value-invented': {
    sent: (quote) => {
      quote.pcrs[11] = randomBytes(32)
    },
  },
  'pcrs-reordered': {
    sent: (quote) => {
      quote.pcrs.reverse()
    },
  },
  'pcr-list-of-23': {
    sent: (quote) => {
      quote.pcrs.pop()
    },
  },
  'pcr-list-of-25': {
    sent: (quote) => {
      quote.pcrs.push(Buffer.alloc(32))
    },
  },
  'pcr-list-empty': {
    sent: (quote) => {
      quote.pcrs = []
    },
  },
  'pcr-of-31-bytes': {
    sent: (quote) => {
      quote.pcrs[3] = randomBytes(31)
    },
  },
} as const satisfies Readonly<Record<string, VtpmDefect>>

/** Every defect of the vTPM by name; both virtual Azure machines take them. */
export const vtpmDefects = {
  ...attestationKeyDefects,
  ...quoteDefects,
  ...sentDefects,
} as const satisfies Readonly<Record<string, VtpmDefect>>

export type VtpmDefectName = keyof typeof vtpmDefects
