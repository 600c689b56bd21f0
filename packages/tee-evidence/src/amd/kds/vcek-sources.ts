import type { EndorsementSource } from '../endorsement-source.ts'
import { createKdsSource, type KdsOptions } from './kds-source.ts'
import { createOfflineStoreSource } from './offline-store-source.ts'

/** One entry of `verifier_config.snp_verifier.vcek_sources`, named as upstream names it (spec 03 §5.2). */
export type VcekSourceConfig =
  | { readonly type: 'OfflineStore'; readonly path?: string | undefined }
  | { readonly type: 'KDS'; readonly base_url?: string | undefined }

/** The sources for a configuration, in its order. Without one: AMD's service alone. */
export function createVcekSources(
  config: readonly VcekSourceConfig[] = [{ type: 'KDS' }],
  kdsOptions: Omit<KdsOptions, 'baseUrl'> = {},
): EndorsementSource[] {
  return config.map((source) =>
    source.type === 'KDS'
      ? createKdsSource({
          ...kdsOptions,
          ...(source.base_url === undefined ? {} : { baseUrl: source.base_url }),
        })
      : createOfflineStoreSource(source.path === undefined ? {} : { path: source.path }),
  )
}
