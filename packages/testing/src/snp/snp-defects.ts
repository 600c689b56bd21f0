/** The ways in which a virtual SNP machine can be wrong: each changes one thing and leaves the rest genuine. */
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import type { JsonObject } from '@passport-kbs/protocol'
import {
  amdName,
  authorityDraft,
  authorityKey,
  authorityName,
  rsaSigner,
  type VirtualGeneration,
} from '../amd/authorities.ts'
import { amdExtensionOid, type EndorsementDraft, newEndorsementKey } from '../amd/endorsement-key.ts'
import type { ReportDraft, ReportSignature } from '../amd/report-writer.ts'
import { pem, subjectPublicKeyInfo, writeCertificate } from '../x509/certificate-writer.ts'
import { boolean, ia5String, integer, integerOctets, octetString, sequence } from '../x509/der-writer.ts'
import { certificateEntry } from './certificate-table.ts'
import type { VirtualSnpMachine } from './virtual-snp-machine.ts'

/** Hooks, each called at its own stage with what is about to be written. */
export interface SnpDefect {
  /** Before signing: the report is genuine but says something it should not. */
  readonly report?: (report: ReportDraft, machine: VirtualSnpMachine) => void
  /** After signing. */
  readonly signature?: (signature: ReportSignature) => void
  /** Before AMD signs the leaf: the certificate is genuine but of a wrong shape. */
  readonly leaf?: (leaf: EndorsementDraft, machine: VirtualSnpMachine) => void
  /** The certificate table of the host. */
  readonly certificates?: (table: JsonObject[], machine: VirtualSnpMachine) => void
  /** The finished JSON. */
  readonly evidence?: (evidence: JsonObject, report: JsonObject) => void
}

type ExtensionName = keyof typeof amdExtensionOid

function setExtension(leaf: EndorsementDraft, name: ExtensionName, value: Uint8Array): void {
  removeExtension(leaf, name)
  leaf.extensions.push({ oid: amdExtensionOid[name], value })
}

function removeExtension(leaf: EndorsementDraft, name: ExtensionName): void {
  leaf.extensions = leaf.extensions.filter((extension) => extension.oid !== amdExtensionOid[name])
}

function editLeaf(table: JsonObject[], edit: (der: Buffer) => Uint8Array): void {
  const [leaf] = table
  if (leaf !== undefined && Array.isArray(leaf.data)) {
    leaf.data = [...edit(Buffer.from(leaf.data.map(Number)))]
  }
}

function appended(bytes: Uint8Array, ...more: number[]): Uint8Array {
  return Buffer.concat([bytes, Uint8Array.from(more)])
}

const otherGeneration: Readonly<Record<VirtualGeneration, VirtualGeneration>> = {
  Milan: 'Genoa',
  Genoa: 'Turin',
  Turin: 'Milan',
}

function intermediateRole(machine: VirtualSnpMachine): 'ask' | 'asvk' {
  return machine.kind === 'vcek' ? 'ask' : 'asvk'
}

/** SubjectPublicKeyInfo of a P-384 key with another point encoding. */
function p384Info(point: Uint8Array): Uint8Array {
  const algorithm = Buffer.from('301006072a8648ce3d020106052b81040022', 'hex')
  return sequence(algorithm, Buffer.concat([Uint8Array.of(3, point.length + 1, 0), point]))
}

function pointOf(leaf: EndorsementDraft): Buffer {
  return Buffer.from(leaf.subjectPublicKeyInfo.slice(-97))
}

const hour = 60 * 60 * 1000

/** Reports that firmware signs although they should not be accepted. */
export const snpReportDefects = {
  'report-version-2': {
    report: (report) => {
      report.version = 2
    },
  },
  'report-version-6': {
    report: (report) => {
      report.version = 6
    },
  },
  'unknown-product': {
    report: (report) => {
      report.cpuFamily = 0x17
    },
  },
  'unknown-signature-algorithm': {
    report: (report) => {
      report.sigAlgo = 2
    },
  },
  'masked-chip-key': {
    report: (report) => {
      report.keyInfo |= 0b10
    },
  },
  'reserved-signing-key': {
    report: (report) => {
      report.keyInfo = 2 << 2
    },
  },
  'no-signing-key': {
    report: (report) => {
      report.keyInfo = 7 << 2
    },
  },
  'signing-key-of-other-class': {
    report: (report, { kind }) => {
      report.keyInfo = kind === 'vcek' ? 1 << 2 : 0
    },
  },
  'vmpl-1': {
    report: (report) => {
      report.vmpl = 1
    },
  },
  'vmpl-max': {
    report: (report) => {
      report.vmpl = 0xffff_ffff
    },
  },
  'debug-allowed': {
    report: (report) => {
      report.policy |= 1n << 19n
    },
  },
  'masked-chip-id': {
    report: (report) => {
      report.chipId = Buffer.alloc(64)
    },
  },
  'other-chip-id': {
    report: (report) => {
      report.chipId = randomBytes(64)
    },
  },
  'chip-id-tail': {
    report: (report) => {
      report.chipId = Buffer.concat([report.chipId.slice(0, 63), Uint8Array.of((report.chipId[63] ?? 0) ^ 9)])
    },
  },
  'raised-bootloader': {
    report: (report) => {
      report.reportedTcb.bootloader += 1
    },
  },
  'raised-tee': {
    report: (report) => {
      report.reportedTcb.tee += 1
    },
  },
  'raised-snp': {
    report: (report) => {
      report.reportedTcb.snp += 1
    },
  },
  'raised-microcode': {
    report: (report) => {
      report.reportedTcb.microcode += 1
    },
  },
  'raised-fmc': {
    report: (report) => {
      report.reportedTcb.fmc = (report.reportedTcb.fmc ?? 0) + 1
    },
  },
  'other-report-data': {
    report: (report) => {
      report.reportData = randomBytes(64)
    },
  },
  'other-init-data': {
    report: (report) => {
      report.hostData = randomBytes(32)
    },
  },
} as const satisfies Readonly<Record<string, SnpDefect>>

const groupOrder = Buffer.from(
  'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
  'hex',
)

const signatureDefects = {
  'signature-swapped': {
    signature: (signature) => {
      ;[signature.r, signature.s] = [signature.s, signature.r]
    },
  },
  'signature-big-endian': {
    signature: (signature) => {
      signature.r = Buffer.concat([Buffer.from(signature.r.slice(0, 48)).reverse(), Buffer.alloc(24)])
    },
  },
  'signature-zero': {
    signature: (signature) => {
      signature.r = Buffer.alloc(72)
    },
  },
  'signature-group-order': {
    signature: (signature) => {
      signature.s = Buffer.concat([Buffer.from(groupOrder).reverse(), Buffer.alloc(24)])
    },
  },
  'signature-high-byte': {
    signature: (signature) => {
      signature.r[71] = 1
    },
  },
  'tampered-measurement': {
    evidence: (_evidence, report) => {
      report.measurement = [...randomBytes(48)]
    },
  },
  'relabelled-version-4': {
    evidence: (_evidence, report) => {
      report.version = 4
    },
  },
} as const satisfies Readonly<Record<string, SnpDefect>>

const shapeDefects = {
  'missing-field': {
    evidence: (_evidence, report) => {
      delete report.guest_svn
    },
  },
  'cpuid-null': {
    evidence: (_evidence, report) => {
      report.cpuid_fam_id = null
    },
  },
  'wrong-fmc-form': {
    evidence: (_evidence, report) => {
      const tcb = report.launch_tcb as JsonObject
      tcb.fmc = tcb.fmc === null ? 0 : null
    },
  },
  'too-many-certificates': {
    certificates: (table) => {
      while (table.length < 17) table.push(certificateEntry('Empty', new Uint8Array()))
    },
  },
  'repeated-ask': {
    certificates: (table, machine) => {
      const ask = machine.roots[machine.generation].ask
      table.push(certificateEntry('ASK', ask), certificateEntry('ASK', ask))
    },
  },
  'unknown-certificate-type': {
    certificates: (table) => {
      table.push(certificateEntry('vcek', new Uint8Array()))
    },
  },
} as const satisfies Readonly<Record<string, SnpDefect>>

const tableDefects = {
  'no-certificates-in-chain': {
    certificates: (table) => {
      table.splice(0)
    },
  },
  'vek-empty': { certificates: (table) => editLeaf(table, () => new Uint8Array()) },
  'vek-truncated': { certificates: (table) => editLeaf(table, (der) => der.subarray(0, -1)) },
  'vek-trailing-byte': { certificates: (table) => editLeaf(table, (der) => appended(der, 0)) },
  'vek-oversize': {
    certificates: (table) => editLeaf(table, (der) => Buffer.concat([der, Buffer.alloc(17_000)])),
  },
  'vek-pem-two-blocks': {
    certificates: (table) => editLeaf(table, (der) => Buffer.from(pem('CERTIFICATE', der).repeat(2))),
  },
  'vek-pem-garbage': {
    certificates: (table) =>
      editLeaf(table, (der) => Buffer.from(pem('CERTIFICATE', der).replace('MII', 'M!I'))),
  },
  'self-made-root': {
    leaf: (leaf) => {
      leaf.issuerKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    },
    certificates: (table, machine) => {
      const own = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const draft = authorityDraft(machine.generation, 'ark')
      draft.subjectPublicKeyInfo = subjectPublicKeyInfo(own.publicKey)
      table.push(certificateEntry('ARK', writeCertificate(draft, rsaSigner(own.privateKey))))
    },
  },
  'ark-of-other-product': {
    certificates: (table, machine) => {
      table.push(certificateEntry('ARK', machine.roots[otherGeneration[machine.generation]].ark))
    },
  },
  'ark-is-ask': {
    certificates: (table, machine) => {
      table.push(certificateEntry('ARK', machine.roots[machine.generation].ask))
    },
  },
  'intermediate-of-other-class': {
    certificates: (table, machine) => {
      const { ask, asvk } = machine.roots[machine.generation]
      table.push(certificateEntry('ASK', machine.kind === 'vcek' ? asvk : ask))
    },
  },
  'intermediate-renamed': {
    leaf: (leaf) => {
      leaf.issuer = amdName('SEV-Somewhere')
    },
    certificates: (table, machine) => {
      const draft = authorityDraft(machine.generation, intermediateRole(machine))
      draft.subject = amdName('SEV-Somewhere')
      const signer = rsaSigner(authorityKey(machine.generation, 'ark'))
      table.push(certificateEntry('ASK', writeCertificate(draft, signer)))
    },
  },
  'intermediate-not-a-ca': {
    certificates: (table, machine) => {
      const draft = authorityDraft(machine.generation, intermediateRole(machine))
      draft.extensions = []
      const signer = rsaSigner(authorityKey(machine.generation, 'ark'))
      table.push(certificateEntry('ASK', writeCertificate(draft, signer)))
    },
  },
  'ca-as-vek': {
    certificates: (table, machine) => {
      const { ask, ark } = machine.roots[machine.generation]
      editLeaf(table, () => ask)
      table.push(certificateEntry('ASK', ark))
    },
  },
} as const satisfies Readonly<Record<string, SnpDefect>>

/** Leaf certificates that AMD signs although they should not be accepted. */
export const snpLeafDefects = {
  'vek-of-other-product': {
    leaf: (leaf, machine) => {
      leaf.issuerKey = authorityKey(otherGeneration[machine.generation], intermediateRole(machine))
    },
  },
  'vek-issuer-differs': {
    leaf: (leaf, machine) => {
      leaf.issuer = amdName(authorityName(otherGeneration[machine.generation], 'ask'))
    },
  },
  'vek-signed-with-sha256': {
    leaf: (leaf) => {
      leaf.scheme = 'pss-sha256'
    },
  },
  'vek-signed-with-salt-32': {
    leaf: (leaf) => {
      leaf.scheme = 'pss-salt-32'
    },
  },
  'vek-signed-with-pkcs1': {
    leaf: (leaf) => {
      leaf.scheme = 'pkcs1'
    },
  },
  'vek-algorithms-differ': {
    leaf: (leaf) => {
      leaf.outerScheme = 'pss'
    },
  },
  'vek-expired': {
    leaf: (leaf) => {
      leaf.notAfter = new Date(leaf.notBefore.getTime() + hour)
    },
  },
  'vek-not-yet-valid': {
    leaf: (leaf) => {
      leaf.notBefore = new Date(leaf.notAfter.getTime() - hour)
    },
  },
  'vek-on-p256': {
    leaf: (leaf) => {
      leaf.subjectPublicKeyInfo = subjectPublicKeyInfo(newEndorsementKey('P-256').publicKey)
    },
  },
  'vek-is-rsa': {
    leaf: (leaf, machine) => {
      const key = createPublicKey(authorityKey(machine.generation, 'ask'))
      leaf.subjectPublicKeyInfo = subjectPublicKeyInfo(key)
    },
  },
  'vek-compressed-point': {
    leaf: (leaf) => {
      const point = pointOf(leaf)
      const sign = 2 + ((point[96] ?? 0) & 1)
      leaf.subjectPublicKeyInfo = p384Info(Buffer.concat([Uint8Array.of(sign), point.subarray(1, 49)]))
    },
  },
  'vek-point-off-curve': {
    leaf: (leaf) => {
      const point = pointOf(leaf)
      point[96] = (point[96] ?? 0) ^ 1
      leaf.subjectPublicKeyInfo = p384Info(point)
    },
  },
  'vek-other-subject': {
    leaf: (leaf) => {
      leaf.subject = amdName('SEV-OTHER')
    },
  },
  'vek-critical-extension': {
    leaf: (leaf) => {
      leaf.extensions.push({ oid: '1.2.3.4', critical: true, value: integer(1) })
    },
  },
  'vek-is-authority': {
    leaf: (leaf) => {
      leaf.extensions.push({ oid: '2.5.29.19', value: sequence(boolean(true)) })
    },
  },
  'product-name-of-other': {
    leaf: (leaf, machine) =>
      setExtension(leaf, 'productName', ia5String(otherGeneration[machine.generation])),
  },
  'struct-version-missing': { leaf: (leaf) => removeExtension(leaf, 'structVersion') },
  'spl-missing': { leaf: (leaf) => removeExtension(leaf, 'snpSpl') },
  'spl-repeated': {
    leaf: (leaf, { tcb }) => {
      leaf.extensions.push({ oid: amdExtensionOid.snpSpl, value: integer(tcb.snp) })
    },
  },
  'spl-negative': { leaf: (leaf) => setExtension(leaf, 'snpSpl', integerOctets(Uint8Array.of(0x98))) },
  'spl-not-minimal': {
    leaf: (leaf, { tcb }) => setExtension(leaf, 'snpSpl', integerOctets(Uint8Array.of(0, tcb.snp))),
  },
  'spl-above-255': { leaf: (leaf) => setExtension(leaf, 'snpSpl', integer(256)) },
  'spl-trailing-byte': {
    leaf: (leaf, { tcb }) => setExtension(leaf, 'snpSpl', appended(integer(tcb.snp), 0)),
  },
  'fmc-presence-wrong': {
    leaf: (leaf, { generation }) => {
      if (generation === 'Turin') removeExtension(leaf, 'fmcSpl')
      else setExtension(leaf, 'fmcSpl', integer(0))
    },
  },
  'hwid-one-short': { leaf: (leaf, { chipId }) => setExtension(leaf, 'hwid', chipId.slice(0, 63)) },
  'hwid-one-long': { leaf: (leaf, { chipId }) => setExtension(leaf, 'hwid', appended(chipId, 0)) },
  'hwid-of-other-size': {
    leaf: (leaf, { generation, chipId }) =>
      setExtension(leaf, 'hwid', generation === 'Turin' ? chipId : chipId.slice(0, 8)),
  },
  'hwid-of-other-chip': {
    leaf: (leaf, { generation }) => setExtension(leaf, 'hwid', randomBytes(generation === 'Turin' ? 8 : 64)),
  },
  'hwid-and-csp-id': { leaf: (leaf) => setExtension(leaf, 'cspId', ia5String('CN=somewhere')) },
  'hwid-missing': { leaf: (leaf) => removeExtension(leaf, 'hwid') },
} as const satisfies Readonly<Record<string, SnpDefect>>

/** Every defect by name. */
export const snpDefects = {
  ...snpReportDefects,
  ...signatureDefects,
  ...shapeDefects,
  ...tableDefects,
  ...snpLeafDefects,
} as const satisfies Readonly<Record<string, SnpDefect>>

export type SnpDefectName = keyof typeof snpDefects

/** The HWID wrapped in an OCTET STRING: unusual, but correct. */
export function wrapHwid(leaf: EndorsementDraft, machine: VirtualSnpMachine): void {
  const size = machine.generation === 'Turin' ? 8 : 64
  setExtension(leaf, 'hwid', octetString(machine.chipId.slice(0, size)))
}
