import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type AmdRoots,
  amdGenerations,
  createAzureSnpVtpmVerifier,
  createKdsSource,
  createOfflineStoreSource,
  createSnpVerifier,
  decodePemBlocks,
  type EndorsementSource,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { evidenceVersion, type Profile, type VerifierConfig } from './config.ts'

/** `snp` and `az-snp-vtpm`, with one chain of endorsement sources. */
export async function amdVerifiers(
  { snpVerifier: snp, azSnpVtpmVerifier: azure }: VerifierConfig,
  profile: Profile,
): Promise<Verifier[]> {
  const roots = snp.trustedRoots === undefined ? {} : { roots: await amdRootsIn(snp.trustedRoots) }
  const endorsementSources = snp.vcekSources.map(
    (source): EndorsementSource =>
      source.type === 'KDS'
        ? createKdsSource({
            baseUrl: source.baseUrl,
            timeout: source.timeoutMs,
            ...(snp.cacheDir ? { cacheDirectory: snp.cacheDir } : {}),
          })
        : createOfflineStoreSource({ path: source.path }),
  )
  const policy = {
    certValidity: snp.certValidity,
    crlPolicy: snp.crlPolicy,
    allowMaskedChipId: snp.allowMaskedChipId,
    // Trustee leaves debug guests to the policy; here that is for development only
    rejectDebug: snp.rejectDebug ?? profile === 'production',
    risk: snp.risk,
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

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
