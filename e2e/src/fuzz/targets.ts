/** Every reader of untrusted bytes. Only names and places: a target is loaded after the instrumentation is in place. */

export interface TargetEntry {
  readonly name: string
  /** The file that has it, for `import()`, and under which name. */
  readonly module: string
  readonly export: string
  /** What is instrumented: folders and files below the repository. */
  readonly scope: readonly string[]
}

const tee = 'packages/tee-evidence/src'
const protocol = 'packages/protocol/src'
const certificates = `${tee}/x509/`
const json = [`${protocol}/json.ts`, `${protocol}/encoding.ts`, `${tee}/evidence-json.ts`]
const amd = [
  ...json,
  certificates,
  `${tee}/amd/chain.ts`,
  `${tee}/amd/report`,
  `${tee}/amd/vek-profile.ts`,
  `${tee}/amd/tcb`,
]
const vtpm = [...json, `${tee}/vtpm/`]
const intelQuote = [
  ...json,
  certificates,
  ...['quote', 'pck-certificate', 'certificate-chain', 'report-', 'td-', 'tcb-level'].map(
    (part) => `${tee}/intel/${part}`,
  ),
]
const eventlog = `${tee}/eventlog/`

function entries(file: string, scopes: Readonly<Record<string, readonly string[]>>): TargetEntry[] {
  const module = new URL(`targets/${file}`, import.meta.url).href
  return Object.entries(scopes).map(([name, scope]) => ({ name, module, export: camelCased(name), scope }))
}

function camelCased(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}

export const targetEntries: readonly TargetEntry[] = [
  ...entries('messages.ts', {
    json: [`${protocol}/json`, `${protocol}/jcs.ts`],
    messages: [
      'messages',
      'message-schema',
      'admin-messages',
      'tee.ts',
      'tee-key',
      'json.ts',
      'encoding',
      'runtime-data',
    ].map((part) => `${protocol}/${part}`),
    'tee-key': [
      `${protocol}/tee-key.ts`,
      `${protocol}/json.ts`,
      `${protocol}/encoding.ts`,
      `${protocol}/jwe`,
    ],
    'jwe-response': [
      `${protocol}/jwe`,
      `${protocol}/key-wrap.ts`,
      `${protocol}/json.ts`,
      `${protocol}/encoding.ts`,
    ],
  }),
  ...entries('passports.ts', {
    token: [
      'packages/service/src/keys/compact-token.ts',
      `${protocol}/ear.ts`,
      `${protocol}/json`,
      `${protocol}/tee-key.ts`,
    ],
    passport: ['packages/service/src/passport/', 'packages/service/src/keys/', `${protocol}/json.ts`],
    'verification-key': ['packages/service/src/keys/verification-key.ts', `${protocol}/json.ts`],
    'init-data': ['packages/attestation-service/src/init-data.ts', `${protocol}/json.ts`],
    config: ['packages/service/src/config/'],
  }),
  ...entries('requests.ts', {
    request: [
      'packages/service/src/http/request-path.ts',
      'packages/service/src/http/client-address.ts',
      'apps/kbs-attest/src/session-cookie.ts',
      'apps/kbs-resource/src/resource-path.ts',
    ],
    evaluation: [
      'apps/attestation-service/src/evaluation-request.ts',
      'packages/attestation-service/src/verification.ts',
      'packages/attestation-service/src/init-data.ts',
      `${tee}/sample/`,
      ...json,
      `${protocol}/jcs.ts`,
    ],
  }),
  ...entries('reference-values.ts', {
    'reference-values': [
      'packages/attestation-service/src/reference-values/',
      `${protocol}/admin-messages.ts`,
    ],
  }),
  ...entries('certificates.ts', {
    x509: [certificates, `${tee}/intel/pck-certificate.ts`, `${tee}/amd/vek-profile.ts`],
    'dcap-collateral': [
      certificates,
      ...[
        'collateral.ts',
        'collateral-shape',
        'collateral-validity',
        'tcb-info',
        'qe-identity',
        'signed-json',
        'json-slices',
        'certificate-chain',
        'pcs-tool',
      ].map((part) => `${tee}/intel/${part}`),
      `${protocol}/json.ts`,
    ],
  }),
  ...entries('amd.ts', {
    snp: [...amd, `${tee}/snp/`],
    'az-snp-vtpm': [...amd, ...vtpm, `${tee}/az-snp-vtpm/`],
  }),
  ...entries('tpm.ts', {
    tpm: [...vtpm, `${tee}/tpm/`],
    'tpm-quote': [`${tee}/vtpm/tpm-quote.ts`],
    hcl: [`${tee}/vtpm/hcl-report.ts`, `${tee}/vtpm/variable-data.ts`, `${protocol}/json.ts`],
  }),
  ...entries('intel.ts', {
    tdx: [...intelQuote, `${tee}/tdx/`, eventlog],
    sgx: [...intelQuote, `${tee}/sgx/`],
    'az-tdx-vtpm': [...intelQuote, ...vtpm, `${tee}/az-tdx-vtpm/`],
  }),
  ...entries('eventlog.ts', { eventlog: [eventlog] }),
  ...entries('csv.ts', { csv: [...json, `${tee}/csv/`, eventlog] }),
  ...entries('rego.ts', {
    'rego-parser': [
      'packages/policy/src/syntax/',
      'packages/policy/src/compile/',
      'packages/policy/src/policy.ts',
    ],
    'rego-eval': ['packages/policy/src/'],
  }),
]
