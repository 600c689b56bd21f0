import * as files from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { Tee } from '@passport-kbs/protocol'
import type { BuiltInAttestationConfig, Config, Logger } from '@passport-kbs/service'
import {
  type AmdRoots,
  amdGenerations,
  type CollateralSource,
  createAzureSnpVtpmVerifier,
  createAzureTdxVtpmVerifier,
  createCollateralCache,
  createCsvVerifier,
  createDcap,
  createKdsSource,
  createOfflineStoreSource,
  createSampleDeviceVerifier,
  createSampleVerifier,
  createSgxVerifier,
  createSnpVerifier,
  createTdxVerifier,
  createTpmVerifier,
  decodePemBlocks,
  directoryFiles,
  type EndorsementSource,
  firstHygonSource,
  hygonCertificateCache,
  hygonDirectory,
  hygonKeyService,
  hygonRoot,
  type IntelRoot,
  intelRoot,
  offlineDirectoryCollateral,
  offlineFileCollateral,
  pcsUpstream,
  type Verifier,
  watchedFile,
} from '@passport-kbs/tee-evidence'

type VerifierConfig = BuiltInAttestationConfig['verifierConfig']

/** The verifiers that this configuration asks for. `sample` evidence exists in the development profile only. */
export async function openVerifiers(
  config: VerifierConfig,
  profile: Config['profile'],
  logger: Logger,
): Promise<ReadonlyMap<Tee, Verifier>> {
  const verifiers = [
    ...(await amdVerifiers(config)),
    createTpmVerifier(),
    ...(await intelVerifiers(config)),
    await hygonVerifier(config, logger),
    ...(profile === 'development'
      ? [createSampleVerifier({ enabled: true }), createSampleDeviceVerifier({ enabled: true })]
      : []),
  ]
  return new Map(verifiers.map((verifier) => [verifier.tee, verifier]))
}

async function amdVerifiers({
  snpVerifier: snp,
  azSnpVtpmVerifier: azure,
}: VerifierConfig): Promise<Verifier[]> {
  const roots = snp.trustedRoots === undefined ? {} : { roots: await amdRootsIn(snp.trustedRoots) }
  const endorsementSources = snp.vcekSources.map(
    (source): EndorsementSource =>
      source.type === 'KDS'
        ? createKdsSource({
            baseUrl: source.baseUrl,
            ...(snp.cacheDir ? { cacheDirectory: snp.cacheDir } : {}),
          })
        : createOfflineStoreSource({ path: source.path }),
  )
  const policy = {
    certValidity: snp.certValidity,
    crlPolicy: snp.crlPolicy,
    allowMaskedChipId: snp.allowMaskedChipId,
    rejectDebug: snp.rejectDebug,
  }
  return [
    createSnpVerifier({ ...roots, endorsementSources, policy: { ...policy, allowedVmpl: snp.allowedVmpl } }),
    createAzureSnpVtpmVerifier({
      ...roots,
      endorsementSources,
      policy: { ...policy, minEvidenceVersion: evidenceVersion(azure.minEvidenceVersion) },
    }),
  ]
}

/** The three generations' bundles as Trustee ships them, `<generation>_ask_ark_asvk.pem`; one that is absent is not trusted. */
async function amdRootsIn(directory: string): Promise<AmdRoots> {
  const roots: { -readonly [generation in keyof AmdRoots]: AmdRoots[generation] } = {}
  for (const generation of amdGenerations) {
    const pem = await readOptional(join(directory, `${generation.toLowerCase()}_ask_ark_asvk.pem`))
    if (pem === undefined) continue
    const [ask, ark, asvk] = decodePemBlocks(pem, 'CERTIFICATE')
    if (!ask || !ark || !asvk)
      throw new Error(`${directory}: the bundle of ${generation} needs ASK, ARK and ASVK`)
    roots[generation] = { ark, ask, asvk }
  }
  return roots
}

async function intelVerifiers(config: VerifierConfig): Promise<Verifier[]> {
  const { dcapVerifier: dcapConfig, azTdxVtpmVerifier: azure } = config
  const root = dcapConfig.trustedRoot === undefined ? undefined : await intelRootIn(dcapConfig.trustedRoot)
  const dcap = createDcap({
    collateral: collateralSource(dcapConfig, root),
    reportExpired: dcapConfig.reportExpired,
    ...(root ? { root } : {}),
  })
  const { allowDebug } = dcapConfig
  return [
    createTdxVerifier({ dcap, allowDebug, requireEventLog: dcapConfig.requireEventlog }),
    createSgxVerifier({ dcap, allowDebug }),
    createAzureTdxVtpmVerifier({
      dcap,
      allowDebug,
      minEvidenceVersion: evidenceVersion(azure.minEvidenceVersion),
    }),
  ]
}

async function intelRootIn(path: string): Promise<IntelRoot> {
  const [der] = decodePemBlocks(await files.readFile(path, 'utf8'), 'CERTIFICATE')
  if (der === undefined) throw new Error(`${path} holds no certificate`)
  return intelRoot(der)
}

function collateralSource(
  config: VerifierConfig['dcapVerifier'],
  root: IntelRoot | undefined,
): CollateralSource {
  const update = config.tcbUpdateType
  if (config.offlineDir !== undefined)
    return offlineDirectoryCollateral(directoryFiles(config.offlineDir), update)
  if (config.collateralService.startsWith('file://')) {
    return offlineFileCollateral(watchedFile(new URL(config.collateralService).pathname), update)
  }
  return createCollateralCache({
    upstreams: [config.collateralService, ...config.urls].map((url) => pcsUpstream({ url, update, fetch })),
    update,
    now: Date.now,
    ...(root ? { root } : {}),
    ...(config.cacheDir ? { files: directoryFiles(config.cacheDir) } : {}),
  })
}

async function hygonVerifier({ csvVerifier: csv }: VerifierConfig, logger: Logger): Promise<Verifier> {
  const service = hygonCertificateCache({
    source: hygonKeyService({ fetch, url: csv.baseUrl }),
    now: () => performance.now(),
    onDirectoryFailure: (err) => logger.warn({ err }, 'Hygon certificates could not be kept'),
    ...(csv.cacheDir ? { directory: hygonDirectory(csv.cacheDir, files) } : {}),
  })
  return createCsvVerifier({
    certificateSource: firstHygonSource([hygonDirectory(csv.certDir, files), service]),
    minReportVersion: csv.minReportVersion === 2 ? 2 : 1,
    allowDebug: csv.allowDebug,
    ignoreInitData: csv.ignoreInitData,
    ...(csv.trustedRoot ? { root: hygonRoot(new Uint8Array(await files.readFile(csv.trustedRoot))) } : {}),
  })
}

/** The schema admits 0, 1 and 2 only. */
function evidenceVersion(version: number): 0 | 1 | 2 {
  return version === 2 ? 2 : version === 1 ? 1 : 0
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await files.readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
