import { readFile } from 'node:fs/promises'
import { rootCertificates } from 'node:tls'
import type { Logger } from '@passport-kbs/service'
import {
  type CollateralSource,
  createAzureTdxVtpmVerifier,
  createCollateralCache,
  createDcap,
  createSgxVerifier,
  createTdxVerifier,
  decodePemBlocks,
  directoryFiles,
  type IntelRoot,
  intelRoot,
  offlineDirectoryCollateral,
  offlineFileCollateral,
  pcsUpstream,
  type Verifier,
  watchedFile,
} from '@passport-kbs/tee-evidence'
import { Agent, fetch as undiciFetch } from 'undici'
import { evidenceVersion, type VerifierConfig } from './config.ts'

/** How often collateral that is due is fetched again, ahead of its expiry, in milliseconds. */
const refreshIntervalMs = 600_000

/** `tdx`, `sgx` and `az-tdx-vtpm`, with one cache of collateral, which a timer keeps fresh until `close`. */
export async function openIntelVerifiers(
  config: VerifierConfig,
  logger: Logger,
): Promise<{ verifiers: Verifier[]; close(): void }> {
  const { dcapVerifier: dcapConfig, azTdxVtpmVerifier: azure } = config
  const root = dcapConfig.trustedRoot === undefined ? undefined : await intelRootIn(dcapConfig.trustedRoot)
  const collateral = await openCollateral(dcapConfig, root, logger)
  const dcap = createDcap({
    collateral: collateral.source,
    reportExpired: dcapConfig.reportExpired,
    risk: dcapConfig.risk,
    ...(root ? { root } : {}),
  })
  const { allowDebug } = dcapConfig
  const verifiers = [
    createTdxVerifier({ dcap, allowDebug, requireEventLog: dcapConfig.requireEventlog }),
    createSgxVerifier({ dcap, allowDebug }),
    createAzureTdxVtpmVerifier({
      dcap,
      allowDebug,
      minEvidenceVersion: evidenceVersion(azure.minEvidenceVersion),
    }),
  ]
  return { verifiers, close: collateral.close }
}

async function intelRootIn(path: string): Promise<IntelRoot> {
  const [der] = decodePemBlocks(await readFile(path, 'utf8'), 'CERTIFICATE')
  if (der === undefined) throw new Error(`${path} holds no certificate`)
  return intelRoot(der)
}

interface OpenCollateral {
  readonly source: CollateralSource
  close(): void
}

const fixed = (source: CollateralSource): OpenCollateral => ({ source, close() {} })

async function openCollateral(
  config: VerifierConfig['dcapVerifier'],
  root: IntelRoot | undefined,
  logger: Logger,
): Promise<OpenCollateral> {
  const update = config.tcbUpdateType
  const client = await clientFor(config.ca)
  if (config.offlineDir !== undefined)
    return fixed(offlineDirectoryCollateral(directoryFiles(config.offlineDir), update))
  if (config.collateralService.startsWith('file://')) {
    return fixed(offlineFileCollateral(watchedFile(new URL(config.collateralService).pathname), update))
  }
  const cache = createCollateralCache({
    upstreams: [config.collateralService, ...config.urls].map((url) =>
      pcsUpstream({ url, update, fetch: client }),
    ),
    update,
    now: Date.now,
    timeoutMs: config.timeoutMs,
    deadlineMs: 2 * config.timeoutMs,
    negativeMs: 1_000 * config.retrySeconds,
    ...(root ? { root } : {}),
    ...(config.cacheDir ? { files: directoryFiles(config.cacheDir) } : {}),
  })
  const timer = setInterval(() => {
    cache
      .refreshDue()
      .catch((err: unknown) => logger.warn({ err }, 'Intel collateral could not be refreshed'))
  }, refreshIntervalMs).unref()
  return { source: cache, close: () => clearInterval(timer) }
}

/** A client that also trusts the CA of a PCCS of one's own. */
async function clientFor(ca: string | undefined): Promise<typeof fetch> {
  if (ca === undefined) return fetch
  const dispatcher = new Agent({ connect: { ca: [...rootCertificates, await readFile(ca, 'utf8')] } })
  return (async (url: string, init: object) =>
    undiciFetch(url, { ...init, dispatcher })) as unknown as typeof fetch
}
