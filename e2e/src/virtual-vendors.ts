import {
  createVirtualHygonRoot,
  createVirtualIntel,
  pem,
  startVirtualPcs,
  type VirtualHygonRoot,
  type VirtualIntel,
} from '@passport-kbs/testing'
import type { ConfigTable, Organisation } from './organisation.ts'
import { rootFiles } from './virtual-tees.ts'

/** The test world's AMD, Intel and Hygon, and the service from which Intel's collateral comes. */
export interface VirtualVendors extends AsyncDisposable {
  readonly intel: VirtualIntel
  readonly hygon: VirtualHygonRoot
  /** Writes the roots into the organisation's folder and answers the section `verifier_config` that trusts them. */
  trustedBy(organisation: Organisation): Promise<ConfigTable>
  close(): Promise<void>
}

export async function startVirtualVendors(): Promise<VirtualVendors> {
  const intel = createVirtualIntel(new Date())
  const hygon = createVirtualHygonRoot()
  const pcs = await startVirtualPcs()
  const { fmspc, ca } = intel.platform()
  for (const tee of ['tdx', 'sgx'] as const) pcs.serve(tee, fmspc, ca, intel.collateral({ tee }))
  const close = () => pcs.close()
  return {
    intel,
    hygon,
    close,
    [Symbol.asyncDispose]: close,
    async trustedBy(organisation) {
      for (const [name, bundle] of rootFiles()) await organisation.write(`roots/${name}`, bundle)
      return {
        snp_verifier: {
          trusted_roots: organisation.path('roots'),
          // all certificates come with the evidence; nothing is fetched from AMD
          vcek_sources: [{ type: 'OfflineStore', path: organisation.path('vcek') }],
          crl_policy: 'off',
        },
        dcap_verifier: {
          trusted_root: await organisation.write('intel.pem', pem('CERTIFICATE', intel.rootCertificate)),
          collateral_service: pcs.url,
          cache_dir: organisation.path('collateral'),
        },
        csv_verifier: {
          trusted_root: await organisation.write('hrk.cert', hygon.certificate),
          cert_dir: organisation.path('hsk_cek'),
        },
      }
    },
  }
}
