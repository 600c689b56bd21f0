import * as files from 'node:fs/promises'
import { performance } from 'node:perf_hooks'
import type { Logger } from '@passport-kbs/service'
import {
  createCsvVerifier,
  firstHygonSource,
  hygonCertificateCache,
  hygonDirectory,
  hygonKeyService,
  hygonRoot,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import type { VerifierConfig } from './config.ts'

/** `csv`, with certificates from the directory, else from Hygon's service. */
export async function openHygonVerifier(
  { csvVerifier: csv }: VerifierConfig,
  logger: Logger,
): Promise<Verifier> {
  const service = hygonCertificateCache({
    source: hygonKeyService({ fetch, url: csv.baseUrl, timeoutMs: csv.timeoutMs }),
    now: () => performance.now(),
    onDirectoryFailure: (err) => logger.warn({ err }, 'Hygon certificates could not be kept'),
    ...(csv.cacheDir ? { directory: hygonDirectory(csv.cacheDir, files) } : {}),
  })
  return createCsvVerifier({
    certificateSource: firstHygonSource([hygonDirectory(csv.certDir, files), service]),
    minReportVersion: csv.minReportVersion === 2 ? 2 : 1,
    allowDebug: csv.allowDebug,
    ignoreInitData: csv.ignoreInitData,
    risk: csv.risk,
    ...(csv.trustedRoot ? { root: hygonRoot(new Uint8Array(await files.readFile(csv.trustedRoot))) } : {}),
  })
}
