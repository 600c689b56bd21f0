/** Encodes TD reports and enclave reports field by field, from Intel's tables (spec 04 §3.2). */

const tdFields = {
  tcb_svn: 16,
  mr_seam: 48,
  mrsigner_seam: 48,
  seam_attributes: 8,
  td_attributes: 8,
  xfam: 8,
  mr_td: 48,
  mr_config_id: 48,
  mr_owner: 48,
  mr_owner_config: 48,
  rtmr_0: 48,
  rtmr_1: 48,
  rtmr_2: 48,
  rtmr_3: 48,
  report_data: 64,
} as const
const tdFields15 = { ...tdFields, tee_tcb_svn2: 16, mr_servicetd: 48 } as const

const enclaveFields = {
  cpu_svn: 16,
  misc_select: 4,
  reserved1: 12,
  isv_ext_prod_id: 16,
  flags: 8,
  xfrm: 8,
  mr_enclave: 32,
  reserved2: 32,
  mr_signer: 32,
  reserved3: 32,
  config_id: 64,
  isv_prod_id: 2,
  isv_svn: 2,
  config_svn: 2,
  reserved4: 42,
  isv_family_id: 16,
  report_data: 64,
} as const

/** Fields shorter than their place are followed by zeros; absent ones are zero. */
export type TdReportFields = Partial<Record<keyof typeof tdFields15, Uint8Array>>
export type EnclaveReportFields = Partial<Record<keyof typeof enclaveFields, Uint8Array>>

/** 584 bytes, or 648 for TDX 1.5. */
export function encodeTdReport(fields: TdReportFields, layout: '1.0' | '1.5'): Uint8Array {
  return encode(fields, layout === '1.0' ? tdFields : tdFields15)
}

/** 384 bytes. */
export function encodeEnclaveReport(fields: EnclaveReportFields): Uint8Array {
  return encode(fields, enclaveFields)
}

function encode(
  fields: Readonly<Record<string, Uint8Array | undefined>>,
  layout: Readonly<Record<string, number>>,
): Uint8Array {
  const parts = Object.entries(layout).map(([name, size]) => {
    const value = fields[name] ?? new Uint8Array()
    if (value.length > size) throw new RangeError(`${name} has ${value.length} bytes, not ${size}`)
    return Buffer.concat([value, new Uint8Array(size - value.length)])
  })
  return Buffer.concat(parts)
}
