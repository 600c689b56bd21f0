/** A fixed run of fields, in wire order: name (also the claim name) and size in bytes. */
export type ReportLayout = readonly (readonly [name: string, size: number])[]

/** TD report 1.0, 584 bytes (Intel TDX DCAP quoting library API, sgx_report2_body_t; spec 04 §3.2). */
export const tdReport10 = [
  ['tcb_svn', 16],
  ['mr_seam', 48],
  ['mrsigner_seam', 48],
  ['seam_attributes', 8],
  ['td_attributes', 8],
  ['xfam', 8],
  ['mr_td', 48],
  ['mr_config_id', 48],
  ['mr_owner', 48],
  ['mr_owner_config', 48],
  ['rtmr_0', 48],
  ['rtmr_1', 48],
  ['rtmr_2', 48],
  ['rtmr_3', 48],
  ['report_data', 64],
] as const satisfies ReportLayout

/** TD report 1.5, 648 bytes: the TCB of the module that runs now, and the service TDs. */
export const tdReport15 = [
  ...tdReport10,
  ['tee_tcb_svn2', 16],
  ['mr_servicetd', 48],
] as const satisfies ReportLayout

/** SGX enclave report, 384 bytes (Intel SDM volume 3D, REPORT structure without key id and MAC). */
export const enclaveReport = [
  ['cpu_svn', 16],
  ['misc_select', 4],
  ['reserved1', 12],
  ['isv_ext_prod_id', 16],
  ['attributes.flags', 8],
  ['attributes.xfrm', 8],
  ['mr_enclave', 32],
  ['reserved2', 32],
  ['mr_signer', 32],
  ['reserved3', 32],
  ['config_id', 64],
  ['isv_prod_id', 2],
  ['isv_svn', 2],
  ['config_svn', 2],
  ['reserved4', 42],
  ['isv_family_id', 16],
  ['report_data', 64],
] as const satisfies ReportLayout

type FieldName<L extends ReportLayout> = L[number][0]

/** The fields of a report by name, each a view of its bytes. */
export type Report<L extends ReportLayout> = Readonly<Record<FieldName<L>, Uint8Array>>

export type EnclaveReport = Report<typeof enclaveReport>
/** `tee_tcb_svn2` and `mr_servicetd` are there for TDX 1.5 reports only, always together. */
export type TdReport = Report<typeof tdReport10> & Partial<Report<typeof tdReport15>>

/** Size in bytes of a report of this layout. */
export function reportSize(layout: ReportLayout): number {
  return layout.reduce((sum, [, size]) => sum + size, 0)
}

/** Cuts `bytes`, which must have exactly the size of the layout, into fields (views, no copies). */
export function cutReport<L extends ReportLayout>(bytes: Uint8Array, layout: L): Report<L> {
  if (bytes.length !== reportSize(layout)) throw new RangeError('report bytes do not fit the layout')
  const fields: Record<string, Uint8Array> = {}
  let offset = 0
  for (const [name, size] of layout) {
    fields[name] = bytes.subarray(offset, offset + size)
    offset += size
  }
  return fields as Report<L>
}
