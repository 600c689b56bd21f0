import type { JsonObject } from '@passport-kbs/protocol'
import * as z from 'zod'
import { fail } from '../rejection.ts'
import { bytesEqual } from '../x509/certificate.ts'
import {
  hexBytes,
  type IsvLevel,
  isvLevel,
  parseShape,
  svn16,
  unknownIsvStatus,
  utcSeconds,
} from './collateral-shape.ts'
import type { EnclaveReport } from './report-layout.ts'

const qeIdentityShape = z.object({
  id: z.string(),
  issueDate: utcSeconds,
  nextUpdate: utcSeconds,
  tcbEvaluationDataNumber: z.int().min(0),
  miscselect: hexBytes(4),
  miscselectMask: hexBytes(4),
  attributes: hexBytes(16),
  attributesMask: hexBytes(16),
  mrsigner: hexBytes(32),
  isvprodid: svn16,
  tcbLevels: z.array(isvLevel),
})

/** Identity of a quoting enclave, version 2 (spec 04 §5.2). */
export interface QeIdentity
  extends Omit<z.infer<typeof qeIdentityShape>, 'tcbLevels' | 'tcbEvaluationDataNumber'> {
  readonly evaluationDataNumber: number
  readonly levels: readonly IsvLevel[]
  /** A status text anywhere in the document that this program does not know. */
  readonly unknownStatus?: string
}

/**
 * Reads the signed body of a QE identity document.
 * @throws CheckFailure `QE_IDENTITY_VERSION_UNSUPPORTED`, `COLLATERAL_MALFORMED`
 */
export function parseQeIdentity(body: JsonObject): QeIdentity {
  if (body.version !== 2) fail('QE_IDENTITY_VERSION_UNSUPPORTED', 'QE identity is not of version 2')
  const { tcbLevels, tcbEvaluationDataNumber, ...rest } = parseShape(qeIdentityShape, body, 'enclaveIdentity')
  const unknownStatus = unknownIsvStatus(tcbLevels)
  return {
    ...rest,
    evaluationDataNumber: tcbEvaluationDataNumber,
    levels: tcbLevels,
    ...(unknownStatus === undefined ? {} : { unknownStatus }),
  }
}

const debugFlag = 0x02

/**
 * Demands that the quoting enclave is the one that Intel describes (spec 04 §6.1).
 * @throws CheckFailure `QE_IDENTITY_MISMATCH`
 */
export function requireQeIdentity(report: EnclaveReport, identity: QeIdentity, tee: 'tdx' | 'sgx'): void {
  const code = 'QE_IDENTITY_MISMATCH'
  if (identity.id !== (tee === 'tdx' ? 'TD_QE' : 'QE')) fail(code, `the identity is that of ${identity.id}`)
  if (!bytesEqual(report.mr_signer, identity.mrsigner)) fail(code, 'mr_signer')
  if (Buffer.from(report.isv_prod_id).readUInt16LE() !== identity.isvprodid) fail(code, 'isv_prod_id')
  if (!equalUnderMask(report.misc_select, identity.miscselectMask, identity.miscselect))
    fail(code, 'misc_select')
  const attributes = Buffer.concat([report['attributes.flags'], report['attributes.xfrm']])
  if (!equalUnderMask(attributes, identity.attributesMask, identity.attributes)) fail(code, 'attributes')
  if (((attributes[0] ?? debugFlag) & debugFlag) !== 0) fail(code, 'the quoting enclave runs in debug mode')
}

function equalUnderMask(value: Uint8Array, mask: Uint8Array, expected: Uint8Array): boolean {
  return (
    value.length === mask.length &&
    value.every((byte, index) => (byte & (mask[index] ?? 0)) === expected[index])
  )
}
