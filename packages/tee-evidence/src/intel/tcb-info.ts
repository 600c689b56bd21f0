import type { JsonObject } from '@passport-kbs/protocol'
import * as z from 'zod'
import { fail } from '../rejection.ts'
import {
  hexBytes,
  hexText,
  isvLevel,
  parseShape,
  svn8,
  svn16,
  unknownIsvStatus,
  utcSeconds,
} from './collateral-shape.ts'

const components = z.array(z.object({ svn: svn8 })).length(16)
const module = z.object({ mrsigner: hexBytes(48), attributes: hexBytes(8), attributesMask: hexBytes(8) })

const platformLevel = z.object({
  tcb: z.object({ sgxtcbcomponents: components, pcesvn: svn16, tdxtcbcomponents: components.optional() }),
  tcbDate: utcSeconds,
  tcbStatus: z.string(),
  advisoryIDs: z.array(z.string()).optional(),
})

const tcbInfoShape = z.object({
  id: z.string(),
  issueDate: utcSeconds,
  nextUpdate: utcSeconds,
  fmspc: hexText(6),
  pceId: hexText(2),
  tcbEvaluationDataNumber: z.int().min(0),
  tdxModule: module.optional(),
  tdxModuleIdentities: z.array(module.extend({ id: z.string(), tcbLevels: z.array(isvLevel) })).optional(),
  tcbLevels: z.array(platformLevel).min(1),
})

export type TdxModule = z.infer<typeof module>
export type TdxModuleIdentity = NonNullable<z.infer<typeof tcbInfoShape>['tdxModuleIdentities']>[number]

/** Levels of a platform, from the newest down. */
export interface PlatformLevel {
  readonly sgxComponents: readonly number[]
  readonly pceSvn: number
  /** Empty where the document has none, as for SGX. */
  readonly tdxComponents: readonly number[]
  readonly tcbDate: string
  readonly tcbStatus: string
  readonly advisoryIDs: readonly string[]
}

/** TCB info, version 3 (spec 04 §5.2), with its levels in descending order. */
export interface TcbInfo {
  readonly id: string
  readonly issueDate: string
  readonly nextUpdate: string
  readonly fmspc: string
  readonly pceId: string
  readonly evaluationDataNumber: number
  readonly module?: TdxModule
  readonly moduleIdentities: readonly TdxModuleIdentity[]
  readonly levels: readonly PlatformLevel[]
  /** A status text anywhere in the document that this program does not know. */
  readonly unknownStatus?: string
}

/** Statuses of a platform level (Intel PCS API v4, appendix A). */
const platformStatuses = new Set([
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
])

/**
 * Reads the signed body of a TCB info document.
 * @throws CheckFailure `TCB_INFO_VERSION_UNSUPPORTED`, `COLLATERAL_MALFORMED`
 */
export function parseTcbInfo(body: JsonObject): TcbInfo {
  if (body.version !== 3) fail('TCB_INFO_VERSION_UNSUPPORTED', 'TCB info is not of version 3')
  if (body.tcbType !== 0) fail('TCB_INFO_VERSION_UNSUPPORTED', 'TCB info is not of type 0')
  const shape = parseShape(tcbInfoShape, body, 'tcbInfo')
  const unknownStatus = findUnknownStatus(shape)
  return {
    id: shape.id,
    issueDate: shape.issueDate,
    nextUpdate: shape.nextUpdate,
    fmspc: shape.fmspc,
    pceId: shape.pceId,
    evaluationDataNumber: shape.tcbEvaluationDataNumber,
    ...(shape.tdxModule === undefined ? {} : { module: shape.tdxModule }),
    moduleIdentities: shape.tdxModuleIdentities ?? [],
    levels: shape.tcbLevels.map(toPlatformLevel).sort(newestFirst),
    ...(unknownStatus === undefined ? {} : { unknownStatus }),
  }
}

/**
 * Demands what TCB info must have for TDX and need not have for SGX.
 * @throws CheckFailure `COLLATERAL_MALFORMED`
 */
export function requireTdxMembers({ module, levels }: TcbInfo): void {
  if (module === undefined) fail('COLLATERAL_MALFORMED', 'TDX TCB info without tdxModule')
  if (levels.some(({ tdxComponents }) => tdxComponents.length === 0)) {
    fail('COLLATERAL_MALFORMED', 'TDX TCB level without TDX components')
  }
}

type Shape = z.infer<typeof tcbInfoShape>

function findUnknownStatus(shape: Shape): string | undefined {
  const level = shape.tcbLevels.find(({ tcbStatus }) => !platformStatuses.has(tcbStatus))
  if (level !== undefined) return level.tcbStatus
  return unknownIsvStatus((shape.tdxModuleIdentities ?? []).flatMap((identity) => identity.tcbLevels))
}

function toPlatformLevel({
  tcb,
  tcbDate,
  tcbStatus,
  advisoryIDs,
}: Shape['tcbLevels'][number]): PlatformLevel {
  return {
    sgxComponents: tcb.sgxtcbcomponents.map(({ svn }) => svn),
    pceSvn: tcb.pcesvn,
    tdxComponents: tcb.tdxtcbcomponents?.map(({ svn }) => svn) ?? [],
    tcbDate,
    tcbStatus,
    advisoryIDs: advisoryIDs ?? [],
  }
}

/** Intel serves levels in this order, but nothing promises it. */
function newestFirst(a: PlatformLevel, b: PlatformLevel): number {
  const left = [...a.sgxComponents, a.pceSvn, ...a.tdxComponents]
  const right = [...b.sgxComponents, b.pceSvn, ...b.tdxComponents]
  const index = left.findIndex((svn, position) => svn !== right[position])
  return index === -1 ? 0 : (right[index] ?? -1) - (left[index] ?? -1)
}
