/** Certificates, revocation lists, PEM, and the collateral that Intel's quotes are judged by. */
import { deepStrictEqual } from 'node:assert'
import { isJsonObject, JsonSyntaxError, jsonObject, parseJson } from '@passport-kbs/protocol'
import {
  type CollateralDocument,
  type CollateralKey,
  createCollateralAuthenticator,
  decodePemBlocks,
  intelRoot,
  UpstreamError,
} from '@passport-kbs/tee-evidence'
import {
  createVirtualIntel,
  createVirtualSnpMachine,
  pcsToolFile,
  pem,
  type ServedCollateral,
  virtualCrl,
} from '@passport-kbs/testing'
import { vekProfileOf } from '../../../../packages/tee-evidence/src/amd/vek-profile.ts'
import { childSlices, withoutWhiteSpace } from '../../../../packages/tee-evidence/src/intel/json-slices.ts'
import {
  parsePckExtension,
  verifyPckIssuer,
} from '../../../../packages/tee-evidence/src/intel/pck-certificate.ts'
import {
  parsePcsToolFile,
  type ToolFileDocuments,
} from '../../../../packages/tee-evidence/src/intel/pcs-tool-file.ts'
import { parseQeIdentity } from '../../../../packages/tee-evidence/src/intel/qe-identity.ts'
import { parseTcbInfo } from '../../../../packages/tee-evidence/src/intel/tcb-info.ts'
import { CheckFailure } from '../../../../packages/tee-evidence/src/rejection.ts'
import {
  basicConstraints,
  keyUsage,
  parseCertificate,
  publicKeyOf,
  validityAt,
} from '../../../../packages/tee-evidence/src/x509/certificate.ts'
import {
  freshnessAt,
  parseCertificateRevocationList,
} from '../../../../packages/tee-evidence/src/x509/crl.ts'
import { DerError } from '../../../../packages/tee-evidence/src/x509/der.ts'
import { decodeSinglePem } from '../../../../packages/tee-evidence/src/x509/pem.ts'
import type { FuzzTarget } from '../target.ts'
import { readWithAll, vectorSeeds } from './seeds.ts'

const now = new Date('2026-01-15T12:00:00Z')
const intel = createVirtualIntel(now)
const root = intelRoot(intel.rootCertificate)
const platform = intel.platform()
const milan = createVirtualSnpMachine({ generation: 'Milan', now })
const vlek = createVirtualSnpMachine({ generation: 'Genoa', endorsement: 'vlek', now })

const refusals = [DerError, CheckFailure]

export const x509: FuzzTarget = {
  name: 'x509',
  rejections: refusals,
  seeds() {
    const certificates = [
      intel.rootCertificate,
      platform.pck.certificate,
      milan.endorsementCertificate,
      vlek.endorsementCertificate,
      ...Object.values(milan.roots).flatMap(({ ark, ask }) => [ark, ask]),
    ]
    const crl = intel.collateral({ revokedPcks: [Uint8Array.of(1, 2, 3)] }).pckCrl.body
    return [
      ...certificates,
      crl,
      virtualCrl({ generation: 'Milan', thisUpdate: now, revoked: ['ask'] }),
      Buffer.from(pem('CERTIFICATE', intel.rootCertificate)),
      ...vectorSeeds('snp', /\.(der|pem)$/),
    ]
  },
  run(input) {
    const text = Buffer.from(input).toString('latin1')
    let blocks: Uint8Array[] = [input]
    readWithAll(
      refusals,
      () => {
        blocks = [input, ...decodePemBlocks(text, 'CERTIFICATE')]
      },
      () => decodeSinglePem(text, 'X509 CRL'),
    )
    for (const der of blocks) {
      readWithAll(
        refusals,
        () => readCertificate(der),
        () => freshnessAt(parseCertificateRevocationList(der), now),
      )
    }
  },
}

function readCertificate(der: Uint8Array): void {
  const certificate = parseCertificate(der)
  validityAt(certificate, now)
  readWithAll(
    refusals,
    () => publicKeyOf(certificate),
    () => basicConstraints(certificate),
    () => keyUsage(certificate),
    () => parsePckExtension(certificate, 'platform'),
    () => parsePckExtension(certificate, 'processor'),
    () => verifyPckIssuer(certificate, root),
    () => vekProfileOf(certificate, 'Milan', 'vcek'),
    () => vekProfileOf(certificate, 'Turin', 'vcek'),
    () => vekProfileOf(certificate, 'Genoa', 'vlek'),
  )
}

const issuer = verifyPckIssuer(parseCertificate(intel.authorities.platform.certificate), root)

/** What `dcap-collateral` reads: the documents of a PCS in one JSON text. */
function served(collateral: ServedCollateral): Uint8Array {
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')
  const { tcbInfo, qeIdentity, pckCrl, rootCaCrl } = collateral
  const documents = {
    tcbInfo: text(tcbInfo.body),
    tcbInfoChain: tcbInfo.issuerChain,
    qeIdentity: text(qeIdentity.body),
    qeIdentityChain: qeIdentity.issuerChain,
    pckCrl: Buffer.from(pckCrl.body).toString('hex'),
    rootCaCrl: Buffer.from(rootCaCrl.body).toString('hex'),
  }
  return Buffer.from(JSON.stringify(documents))
}

/** A file without the member `collaterals` is a `TypeError`, as its contract says. */
function readToolFile(input: Uint8Array): void {
  const keys: CollateralKey[] = [
    { kind: 'tcb-info', tee: 'tdx', fmspc: platform.fmspc },
    { kind: 'qe-identity', tee: 'tdx' },
    { kind: 'pck-crl', ca: 'platform' },
    { kind: 'root-ca-crl' },
  ]
  let file: ToolFileDocuments
  try {
    file = parsePcsToolFile(input, 'standard')
  } catch (error) {
    if (error instanceof TypeError && error.message.includes('collaterals')) return
    throw error
  }
  readWithAll([UpstreamError], ...keys.map((key) => () => file.document(key)))
}

export const dcapCollateral: FuzzTarget = {
  name: 'dcap-collateral',
  rejections: [JsonSyntaxError, CheckFailure],
  seeds() {
    const collateral = [intel.collateral(), intel.collateral({ tee: 'sgx' })]
    return [
      ...collateral.map(served),
      ...collateral.flatMap(({ tcbInfo, qeIdentity, pckCrl }) => [
        tcbInfo.body,
        qeIdentity.body,
        pckCrl.body,
      ]),
      pcsToolFile([{ tee: 'tdx', fmspc: platform.fmspc, collateral: intel.collateral() }]),
      ...vectorSeeds('tdx', /^(tcbInfo|enclaveIdentity)\.json$/),
    ]
  },
  run(input) {
    const authenticator = createCollateralAuthenticator(root)
    const text = Buffer.from(input).toString()
    readWithAll([CheckFailure], () => authenticator.rootCaCrl({ body: input }))
    const documents = parseJson(input)
    childSlices(text)
    deepStrictEqual(parseJson(withoutWhiteSpace(text)), documents)
    readToolFile(input)
    if (!isJsonObject(documents)) return
    const document = (name: string): CollateralDocument => {
      const { [name]: body, [`${name}Chain`]: chain } = documents
      const bytes = Buffer.from(typeof body === 'string' ? body : '')
      return typeof chain === 'string' ? { body: bytes, issuerChain: chain } : { body: bytes }
    }
    const inner = (name: string) => {
      const { [name]: body } = documents
      return isJsonObject(body) ? body : jsonObject({})
    }
    readWithAll(
      [CheckFailure],
      () => parseTcbInfo(inner('tcbInfo')),
      () => parseQeIdentity(inner('enclaveIdentity')),
      () => authenticator.tcbInfo(document('tcbInfo')).read(),
      () => authenticator.qeIdentity(document('qeIdentity')).read(),
      () => authenticator.rootCaCrl(document('rootCaCrl')),
      () => authenticator.pckCrl(document('pckCrl'), issuer),
    )
  },
}
