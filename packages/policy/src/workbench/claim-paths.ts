/**
 * What policies find in their input: the claims of every TEE (spec 02 §5) and the members of a token around them
 * (spec 02 §3.2, §3.3). Tests hold this table against what the verifiers emit.
 */
import {
  allOptional,
  anything,
  each,
  flag,
  list,
  number,
  numberOrNull,
  optional,
  record,
  type Shape,
  text,
  textOrNull,
} from './claim-shapes.ts'

const tcbVersion = record({ ...each(['bootloader', 'tee', 'snp', 'microcode'], number), fmc: numberOrNull })

/** Names of the risk rules that found something, where they are set to flag only. */
const risk = { risk: optional(list(text)) }

/** Under `ext`, where the verifier is configured to say more than upstream's. */
const snpExtension = {
  generation: text,
  ...each(['report_version', 'vmpl', 'guest_svn', 'policy', 'platform_info'], number),
  signing_key: text,
  csp_id: textOrNull,
  reported_tcb_fmc: numberOrNull,
  ...each(['current_tcb', 'committed_tcb', 'launch_tcb'], tcbVersion),
  ...each(['family_id', 'image_id', 'id_key_digest', 'author_key_digest', 'report_id'], text),
  ...each(['launch_mit_vector', 'current_mit_vector'], numberOrNull),
}

const riskOnly = optional(record(risk))

const snpNumbers = [
  'policy_abi_major',
  'policy_abi_minor',
  'reported_tcb_bootloader',
  'reported_tcb_tee',
  'reported_tcb_snp',
  'reported_tcb_microcode',
]
const snpFlags = [
  'policy_smt_allowed',
  'policy_migrate_ma',
  'policy_debug_allowed',
  'policy_single_socket',
  'platform_tsme_enabled',
  'platform_smt_enabled',
]

const pcrNames = Array.from({ length: 24 }, (_, i) => `pcr${String(i).padStart(2, '0')}`)
const pcrs = record(each(pcrNames, optional(text)))

const eventDetails = record({
  ...each(['string', 'unicode_name', 'variable_name', 'variable_data'], optional(text)),
  ...each(['unicode_name_length', 'variable_data_length'], optional(number)),
  device_paths: optional(list(text)),
  data: optional(record({ domain: text, operation: text, content: anything })),
})

const eventLog = list(
  record({
    index: number,
    type_name: text,
    digest_matches_event: flag,
    digests: list(record({ alg: text, digest: text })),
    event: text,
    details: eventDetails,
  }),
)

/** From Intel's collateral (spec 02 §5.3). */
const dcap = {
  ...each(['tcb_status', 'tcb_date', 'collateral_expiration_status'], text),
  ...each(['earliest_issue_date', 'latest_issue_date', 'earliest_expiration_date'], text),
  ...each(['platform_provider_id', 'root_key_id', 'sgx_type'], text),
  ...each(['tcb_status_current', 'tcb_date_current'], optional(text)),
  advisory_ids: list(text),
  advisory_ids_current: optional(list(text)),
  ...each(['pck_crl_num', 'root_ca_crl_num', 'tcb_eval_num'], number),
  ...each(['is_dynamic_platform', 'is_cached_keys', 'is_smt_enabled'], optional(flag)),
  platform_instance_id: optional(text),
}

const tdQuote = {
  quote: record({
    header: record(each(['version', 'att_key_type', 'tee_type', 'reserved', 'vendor_id', 'user_data'], text)),
    body: record({
      ...each(['tcb_svn', 'mr_seam', 'mrsigner_seam', 'seam_attributes', 'td_attributes', 'xfam'], text),
      ...each(['mr_td', 'mr_config_id', 'mr_owner', 'mr_owner_config', 'report_data'], text),
      ...each(['rtmr_0', 'rtmr_1', 'rtmr_2', 'rtmr_3'], text),
      ...each(['tee_tcb_svn2', 'mr_servicetd'], optional(text)),
    }),
    ...each(['type', 'size'], optional(text)),
  }),
  td_attributes: record(each(['debug', 'septve_disable', 'protection_keys', 'key_locker', 'perfmon'], flag)),
}

const sgxBody = [
  ...['cpu_svn', 'misc_select', 'reserved1', 'isv_ext_prod_id', 'attributes.flags', 'attributes.xfrm'],
  ...['mr_enclave', 'reserved2', 'mr_signer', 'reserved3', 'config_id', 'isv_prod_id', 'isv_svn'],
  ...['config_svn', 'reserved4', 'isv_family_id', 'report_data'],
]

const csvPolicy = [
  ...['nodbg', 'noks', 'es', 'nosend', 'domain', 'csv', 'csv3', 'asid_reuse'],
  ...['hsk_version', 'cek_version', 'api_major', 'api_minor'],
]

/** Claims below `input.<tee>` of an attestation policy, by TEE; `report_data` and `init_data` stand at the top. */
export const teeClaims = {
  snp: record({
    ...each(snpNumbers, number),
    ...each(snpFlags, flag),
    ...each(['measurement', 'chip_id'], text),
    ext: optional(record({ ...allOptional(snpExtension), ...risk })),
  }),
  'az-snp-vtpm': record({
    // as upstream, every scalar is a string: "1", "true"
    ...each([...snpNumbers, ...snpFlags, 'measurement'], text),
    tpm: pcrs,
    ext: optional(
      record({
        ...allOptional({
          ...snpExtension,
          ...each(['chip_id', 'tpm_clock', 'tpm_firmware_version'], text),
          ...each(['evidence_version', 'tpm_reset_count', 'tpm_restart_count'], number),
          vm_configuration: anything,
        }),
        ...risk,
      }),
    ),
  }),
  tdx: record({ ...tdQuote, ...dcap, uefi_event_logs: optional(eventLog), ext: riskOnly }),
  'az-tdx-vtpm': record({ ...tdQuote, ...dcap, tpm: pcrs, ext: riskOnly }),
  sgx: record({
    header: record(
      each(
        ['version', 'att_key_type', 'att_key_data_0', 'qe_svn', 'pce_svn', 'vendor_id', 'user_data'],
        text,
      ),
    ),
    body: record(each(sgxBody, text)),
    ...dcap,
    ext: riskOnly,
  }),
  csv: record({
    ...each(['version', 'user_pubkey_digest', 'vm_id', 'vm_version', 'mnonce', 'measure'], text),
    ...each(['sig_usage', 'sig_algo', 'serial_number'], text),
    policy: record(each(csvPolicy, number)),
    ext: riskOnly,
    anonce: optional(text),
    ...each(['build', 'rtmr_version'], optional(number)),
    ...each(['reserved0', 'reserved1', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3', 'rtmr4'], optional(text)),
    uefi_event_logs: optional(eventLog),
  }),
  tpm: record({ ...each(pcrNames, optional(text)), ak_public: text }),
  sample: record({
    ...each(['svn', 'launch_digest'], text),
    platform_version: record(each(['major', 'minor'], number)),
    debug: flag,
  }),
  sampledevice: record({ svn: text }),
  cca: record({
    realm: record({
      ...each(['cca-realm-personalization-value', 'cca-realm-initial-measurement'], text),
      ...each(['cca-realm-hash-algo-id', 'cca-realm-challenge'], text),
      'cca-realm-extensible-measurements': list(text),
    }),
    platform: record(each(['cca-platform-instance-id', 'cca-platform-implementation-id'], text)),
  }),
  se: record({ ...each(['cuid', 'image_phkh', 'attestation_phkh', 'tag'], text), version: number }),
  hygondcu: record({
    body: record({
      version: number,
      ...each(['chip_id', 'user_data', 'measure', 'reserved', 'sig_usage', 'sig_algo'], text),
    }),
  }),
  'nvidia-dpu': record({
    ...each(['device_serial', 'device_class', 'accumulated_fwid', 'session_nonce'], text),
    ...each(['firmware_layers_count', 'alias_timestamp'], number),
  }),
  // claims of NVIDIA's remote service are as many as it likes
  nvidia: record({}, anything),
} as const satisfies Readonly<Record<string, Shape>>

export type TeeWithClaims = keyof typeof teeClaims

/** The input of an attestation policy: annotated evidence (spec 02 §2.6). */
export const annotatedEvidence: Shape = {
  ...record({
    ...Object.fromEntries(Object.entries(teeClaims).map(([tee, shape]) => [tee, optional(shape)])),
    report_data: optional(text),
    runtime_data_claims: optional(anything),
    init_data: optional(text),
    init_data_claims: optional(anything),
  }),
  alternatives: Object.keys(teeClaims),
}

const trustVectorNames = [
  ...['instance-identity', 'configuration', 'executables', 'file-system'],
  ...['hardware', 'runtime-opaque', 'storage-opaque', 'sourced-data'],
]

const submod = record({
  'ear.status': text,
  'ear.trustworthiness-vector': record(each(trustVectorNames, number)),
  'ear.appraisal-policy-id': text,
  'ear.veraison.annotated-evidence': annotatedEvidence,
  'ear.trustee.identifiers': optional(anything),
  'ear.passport-kbs.policy': optional(record({ id: text, sha384: text })),
})

/** The input of a resource policy: the payload of a token. */
export const tokenClaims: Shape = record({
  ...each(['eat_profile', 'iss'], text),
  ...each(['iat', 'exp'], number),
  nbf: optional(number),
  ...each(['jti', 'sub', 'passport-kbs.profile'], optional(text)),
  aud: optional({ kinds: ['string', 'array'], items: text }),
  'ear.verifier-id': record(each(['developer', 'build'], text)),
  submods: record({}, submod),
  ...each(['tee-pubkey', 'customized_claims'], optional(anything)),
})

/** What `data` holds for a resource policy beside its own rules (spec 01 §4.4). */
export const resourceData: Shape = record({
  plugin: text,
  method: text,
  'resource-path': list(text),
  query: record({}, text),
})

/** What a policy is for. */
export type PolicyPurpose = 'resource' | 'attestation'

/** What the services hand to policies of a purpose, and the rules that they ask for. */
export const purposes: Readonly<
  Record<PolicyPurpose, { readonly input: Shape; readonly data: Shape; readonly rules: readonly string[] }>
> = {
  resource: { input: tokenClaims, data: resourceData, rules: ['data.policy.allow'] },
  attestation: {
    input: annotatedEvidence,
    data: record({}),
    rules: ['data.policy.trust_claims', 'data.policy.extensions'],
  },
}
