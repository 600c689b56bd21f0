/** `verifier_config.*.risk`: what an operator refuses, or flags, of genuine platforms (docs/risk-rules.md). */
import { z } from 'zod'

const days = (what: string) =>
  z.number().min(0).max(36_500).optional().describe(`Ours: greatest age of ${what}, in days.`)

const flagOnly = () =>
  z
    .boolean()
    .default(false)
    .describe('Ours: do not refuse, but list the broken rules in the claim `ext.risk`.')

const chipIds = (pattern: RegExp, form: string, description: string) =>
  z
    .array(z.string().regex(pattern, { error: `must be ${form}` }))
    .min(1)
    .max(100_000)
    .optional()
    .describe(description)

const generation = ['Milan', 'Genoa', 'Turin'] as const

const svn = (component: string) => z.int().min(0).max(255).optional().describe(`Ours: least ${component}.`)

const components = {
  bootloader: svn('bootloader version'),
  tee: svn('PSP OS version'),
  snp: svn('SNP firmware version'),
  microcode: svn('microcode version'),
}

export const amdRiskSchema = z
  .strictObject({
    refused_products: z
      .array(z.enum(generation))
      .max(generation.length)
      .optional()
      .describe('Ours: processor generations to refuse.'),
    min_tcb: z
      .strictObject({
        Milan: z.strictObject(components).optional().describe('Ours: least reported TCB of a Milan.'),
        Genoa: z.strictObject(components).optional().describe('Ours: least reported TCB of a Genoa.'),
        Turin: z
          .strictObject({ fmc: svn('FMC version'), ...components })
          .optional()
          .describe('Ours: least reported TCB of a Turin.'),
      })
      .optional(),
    allowed_chip_ids: chipIds(
      /^(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{128})$/,
      '128 hex digits, or the 16 of a Turin',
      'Ours: CHIP_IDs of the only machines to accept, 128 hex digits each (16 of a Turin).',
    ),
    max_certificate_age_days: days('the VCEK or VLEK certificate'),
    max_crl_age_days: days('AMD’s revocation list, which `crl_policy` must not switch off'),
    flag_only: flagOnly(),
  })
  .prefault({})
  .describe('Ours: what is refused of genuine AMD platforms, on Azure too; see risk-rules.md.')

export const intelRiskSchema = z
  .strictObject({
    refused_products: z
      .array(z.string().regex(/^[0-9a-fA-F]{12}$/, { error: 'must be 12 hex digits' }))
      .max(1024)
      .optional()
      .describe('Ours: FMSPCs to refuse, 12 hex digits each.'),
    accepted_tcb_status: z
      .array(
        z.enum([
          'UpToDate',
          'SWHardeningNeeded',
          'ConfigurationNeeded',
          'ConfigurationAndSWHardeningNeeded',
          'OutOfDate',
          'OutOfDateConfigurationNeeded',
          'TDRelaunchAdvised',
          'TDRelaunchAdvisedConfigurationNeeded',
        ]),
      )
      .min(1)
      .max(8)
      .optional()
      .describe('Ours: the only values of `tcb_status` and `tcb_status_current` to accept.'),
    min_tcb_date: z.iso
      .date()
      .optional()
      .describe('Ours: earliest `tcb_date` and `tcb_date_current`, as text: `"2026-01-31"`.'),
    min_tcb_evaluation_number: z
      .int()
      .min(0)
      .max(1_000_000)
      .optional()
      .describe('Ours: least `tcb_eval_num`, which counts Intel’s TCB recoveries.'),
    allowed_chip_ids: chipIds(
      /^[0-9a-fA-F]{32}$/,
      '32 hex digits',
      'Ours: platform instance ids of the only machines to accept, 32 hex digits each.',
    ),
    max_certificate_age_days: days('the PCK certificate'),
    max_crl_age_days: days('the PCK revocation list'),
    max_collateral_age_days: days('TCB info and QE identity'),
    flag_only: flagOnly(),
  })
  .prefault({})
  .describe('Ours: what is refused of genuine Intel platforms, on Azure too; see risk-rules.md.')

export const hygonRiskSchema = z
  .strictObject({
    min_build: z.int().min(0).max(0xffff_ffff).optional().describe('Ours: least firmware build.'),
    allowed_chip_ids: chipIds(
      /^[A-Za-z0-9]{1,64}$/,
      '1 to 64 letters and digits',
      'Ours: serial numbers of the only chips to accept; their certificates then come from `cert_dir` or `base_url`, not from the guest.',
    ),
    flag_only: flagOnly(),
  })
  .prefault({})
  .describe('Ours: what is refused of genuine Hygon platforms; see risk-rules.md.')
