import { fail } from '../rejection.ts'
import { bytesEqual } from '../x509/certificate.ts'
import { earliest, type IsvLevel } from './collateral-shape.ts'
import type { PckExtension } from './pck-certificate.ts'
import type { QeIdentity } from './qe-identity.ts'
import type { TdReport } from './report-layout.ts'
import type { PlatformLevel, TcbInfo, TdxModule, TdxModuleIdentity } from './tcb-info.ts'

/** Where a platform stands: the status that policies ask for, since when, and why. */
export interface TcbStanding {
  readonly status: string
  /** RFC 3339, UTC, seconds: the earliest date of the levels that took part. */
  readonly date: string
  /** Sorted, without duplicates. */
  readonly advisoryIds: readonly string[]
}

/** What a quote says about its platform, as far as TCB levels look at it. */
export interface QuotedTcb {
  readonly pck: Pick<PckExtension, 'componentSvns' | 'pceSvn'>
  /** isv_svn of the quoting enclave. */
  readonly qeSvn: number
  /** TEE_TCB_SVN (16 bytes) of a TD; absent for SGX. */
  readonly teeTcbSvn?: Uint8Array
}

/** What a TD report says about the modules that launched and run the TD. */
type SeamFields = Pick<TdReport, 'tcb_svn' | 'mrsigner_seam' | 'seam_attributes' | 'tee_tcb_svn2'>

/**
 * Demands that the TDX module which measured the TD is one that Intel describes (spec 04 §6.2), and that the one which runs it
 * now is listed too.
 * @throws CheckFailure `TDX_MODULE_MISMATCH`
 */
export function requireTdxModule(info: TcbInfo, td: SeamFields): void {
  const module = describedModule(info, td.tcb_svn)
  if (!bytesEqual(td.mrsigner_seam, module.mrsigner)) fail('TDX_MODULE_MISMATCH', 'mrsigner_seam')
  const zero = td.seam_attributes.every((byte) => byte === 0)
  if (!zero || !bytesEqual(td.seam_attributes, module.attributes))
    fail('TDX_MODULE_MISMATCH', 'seam_attributes')
  if (td.tee_tcb_svn2 !== undefined) describedModule(info, td.tee_tcb_svn2)
}

function describedModule(info: TcbInfo, teeTcbSvn: Uint8Array): TdxModule {
  return (
    moduleIdentity(info, teeTcbSvn) ?? info.module ?? fail('TDX_MODULE_MISMATCH', 'no module is described')
  )
}

/**
 * The identity of the module's version, which is byte 1 of TEE_TCB_SVN; undefined for version 0, which has none.
 * @throws CheckFailure `TDX_MODULE_MISMATCH` for a version that Intel does not list
 */
export function moduleIdentity(info: TcbInfo, teeTcbSvn: Uint8Array): TdxModuleIdentity | undefined {
  const version = teeTcbSvn[1] ?? 0
  if (version === 0) return undefined
  const id = `TDX_${version.toString(16).padStart(2, '0')}`.toUpperCase()
  const identity = info.moduleIdentities.find((candidate) => candidate.id.toUpperCase() === id)
  return identity ?? fail('TDX_MODULE_MISMATCH', `no identity of module version ${version}`)
}

/**
 * Finds the levels of platform, TDX module and quoting enclave, and lets them converge (spec 04 §6.3 to 6.5).
 * `Revoked` is a result like any other here.
 * @throws CheckFailure `TCB_LEVEL_UNSUPPORTED`; `TDX_MODULE_MISMATCH` as `moduleIdentity`
 */
export function evaluateTcb(quoted: QuotedTcb, info: TcbInfo, qeIdentity: QeIdentity): TcbStanding {
  const platform = findPlatformLevel(quoted, info.levels)
  const parts: IsvLevel[] = []
  const module = quoted.teeTcbSvn === undefined ? undefined : moduleIdentity(info, quoted.teeTcbSvn)
  if (module !== undefined)
    parts.push(findIsvLevel(module.tcbLevels, quoted.teeTcbSvn?.[0] ?? 0, 'TDX module'))
  parts.push(findIsvLevel(qeIdentity.levels, quoted.qeSvn, 'quoting enclave'))
  const levels = [platform, ...parts]
  return {
    status: parts.reduce((status, part) => converge(status, part.tcbStatus), platform.tcbStatus),
    date: earliest(levels.map((level) => level.tcbDate)),
    advisoryIds: [...new Set(levels.flatMap((level) => level.advisoryIDs ?? []))].sort(),
  }
}

function findPlatformLevel({ pck, teeTcbSvn }: QuotedTcb, levels: readonly PlatformLevel[]): PlatformLevel {
  // With a module version the first two bytes are the module's, which has levels of its own.
  const firstTdx = (teeTcbSvn?.[1] ?? 0) > 0 ? 2 : 0
  const level = levels.find(
    ({ sgxComponents, pceSvn, tdxComponents }) =>
      sgxComponents.every((svn, index) => (pck.componentSvns[index] ?? -1) >= svn) &&
      pck.pceSvn >= pceSvn &&
      (teeTcbSvn === undefined ||
        tdxComponents.every((svn, index) => index < firstTdx || (teeTcbSvn[index] ?? -1) >= svn)),
  )
  return level ?? fail('TCB_LEVEL_UNSUPPORTED', 'the platform is below every TCB level')
}

function findIsvLevel(levels: readonly IsvLevel[], svn: number, what: string): IsvLevel {
  const reached = levels.filter((level) => level.tcb.isvsvn <= svn)
  const highest = reached.reduce<IsvLevel | undefined>(
    (best, level) => (best === undefined || level.tcb.isvsvn > best.tcb.isvsvn ? level : best),
    undefined,
  )
  return highest ?? fail('TCB_LEVEL_UNSUPPORTED', `the ${what} is below every TCB level`)
}

const outdated: Readonly<Record<string, string>> = {
  UpToDate: 'OutOfDate',
  SWHardeningNeeded: 'OutOfDate',
  ConfigurationNeeded: 'OutOfDateConfigurationNeeded',
  ConfigurationAndSWHardeningNeeded: 'OutOfDateConfigurationNeeded',
}

function converge(platform: string, component: string): string {
  if (component === 'Revoked') return 'Revoked'
  return component === 'OutOfDate' ? (outdated[platform] ?? platform) : platform
}

/**
 * The status of a TD that was launched on one TCB and runs on another (spec 04 §6.6): where only the launch is out of date,
 * starting the TD again helps.
 */
export function relaunchStatus(launch: string, current: string): string {
  const launchOutdated = launch === 'OutOfDate' || launch === 'OutOfDateConfigurationNeeded'
  if (!launchOutdated || !Object.hasOwn(outdated, current)) return launch
  const configuration = launch.includes('Configuration') || current.includes('Configuration')
  return configuration ? 'TDRelaunchAdvisedConfigurationNeeded' : 'TDRelaunchAdvised'
}
