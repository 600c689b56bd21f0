import { z } from 'zod'
import { amdRiskSchema, hygonRiskSchema, intelRiskSchema } from './risk-schema.ts'
import { count, filePath, milliseconds, webAddress } from './schema-values.ts'

const vcekSource = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('KDS'),
    base_url: webAddress().default('https://kdsintf.amd.com').describe('AMD key distribution service.'),
    timeout_ms: milliseconds(100, 30_000).default(10_000).describe('Ours: time in which it must answer.'),
  }),
  z.strictObject({
    type: z.literal('OfflineStore'),
    path: filePath()
      .default('/opt/confidential-containers/attestation-service/kds-store')
      .describe('Directory of VCEK certificates.'),
  }),
])

export const verifierConfigSchema = z.strictObject({
  snp_verifier: z
    .strictObject({
      vcek_sources: z
        .array(vcekSource)
        .min(1)
        .max(8)
        .prefault([{ type: 'KDS' }])
        .describe('Where VCEK certificates come from when evidence brings none; tried in order.'),
      cert_validity: z
        .enum(['enforce', 'ignore'])
        .default('enforce')
        .describe('Ours: validity dates of AMD certificates. `ignore` is for the development profile.'),
      crl_policy: z
        .enum(['off', 'soft', 'require'])
        .default('soft')
        .describe('Ours: AMD revocation lists: not read, believed when at hand, or demanded.'),
      allowed_vmpl: z
        .array(count(0, 3))
        .max(4)
        .default([0])
        .describe('Ours: privilege levels from which a report may come.'),
      reject_debug: z
        .boolean()
        .optional()
        .describe(
          'Ours: refuse guests that the host may debug. Default: `true` in production, where `false` stops the start.',
        ),
      allow_masked_chip_id: z
        .boolean()
        .default(false)
        .describe('Ours: accept a report without chip id when its certificates are supplied.'),
      cache_dir: filePath().optional().describe('Ours: directory that keeps fetched certificates.'),
      trusted_roots: filePath()
        .optional()
        .describe(
          'Ours: directory of `<generation>_ask_ark_asvk.pem` to trust instead of AMD’s roots. Development profile only.',
        ),
      risk: amdRiskSchema,
    })
    .prefault({})
    .describe('AMD SEV-SNP.'),
  az_snp_vtpm_verifier: z
    .strictObject({
      min_evidence_version: count(0, 2)
        .default(0)
        .describe('Ours: oldest evidence version accepted; 2 binds the runtime data twice.'),
    })
    .prefault({})
    .describe('Ours: Azure SEV-SNP with vTPM.'),
  az_tdx_vtpm_verifier: z
    .strictObject({
      min_evidence_version: count(0, 1).default(0).describe('Ours: oldest evidence version accepted.'),
    })
    .prefault({})
    .describe('Ours: Azure TDX with vTPM.'),
  dcap_verifier: z
    .strictObject({
      collateral_service: webAddress()
        .default('https://api.trustedservices.intel.com/sgx/certification/v4/')
        .describe('Intel PCS or a PCCS; `file://` names an offline collateral file.'),
      urls: z.array(webAddress()).max(8).default([]).describe('Ours: further services, tried in order.'),
      ca: filePath().optional().describe('Ours: PEM file with the CA of a PCCS that has its own.'),
      timeout_ms: milliseconds(100, 20_000)
        .default(10_000)
        .describe('Ours: time in which a service must answer; all services together get twice as long.'),
      retry_seconds: count(1, 3_600)
        .default(60)
        .describe(
          'Ours: time for which a failure to fetch a document is remembered instead of asking again.',
        ),
      cache_dir: filePath().optional().describe('Ours: directory that keeps fetched collateral.'),
      offline_dir: filePath()
        .optional()
        .describe('Ours: directory of collateral to use instead of the network.'),
      tcb_update_type: z
        .enum(['early', 'standard'])
        .default('early')
        .describe('Which TCB baseline is asked for.'),
      allow_debug: z
        .boolean()
        .default(false)
        .describe('Ours: accept debuggable TDs and enclaves. Development profile only.'),
      report_expired: z
        .boolean()
        .default(false)
        .describe('Ours: report expired collateral as a claim instead of refusing.'),
      trusted_root: filePath()
        .optional()
        .describe('Ours: PEM certificate to trust instead of Intel’s SGX root. Development profile only.'),
      require_eventlog: z.boolean().default(false).describe('Ours: refuse TDX evidence without event log.'),
      risk: intelRiskSchema,
    })
    .prefault({})
    .describe('Intel TDX and SGX.'),
  csv_verifier: z
    .strictObject({
      cert_dir: filePath()
        .default('/opt/hygon/csv/hsk_cek')
        .describe('Ours: directory of HSK and CEK certificates, `<chip id>/hsk_cek.cert`.'),
      base_url: webAddress().default('https://cert.hygon.cn').describe('Ours: Hygon’s certificate service.'),
      timeout_ms: milliseconds(100, 30_000).default(10_000).describe('Ours: time in which it must answer.'),
      min_report_version: count(1, 2).default(1).describe('Ours: oldest report version accepted.'),
      allow_debug: z
        .boolean()
        .default(false)
        .describe('Ours: accept guests that the host may debug. Development profile only.'),
      ignore_init_data: z
        .boolean()
        .default(false)
        .describe('Ours: accept init-data that CSV cannot bind; it gives no claims.'),
      cache_dir: filePath().optional().describe('Ours: directory that keeps fetched certificates.'),
      trusted_root: filePath()
        .optional()
        .describe('Ours: HRK certificate to trust instead of Hygon’s. Development profile only.'),
      risk: hygonRiskSchema,
    })
    .prefault({})
    .describe('Ours: Hygon CSV.'),
})
