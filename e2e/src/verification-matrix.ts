/**
 * `node e2e/src/verification-matrix.ts [--check]`: writes docs/verification.md from the checks that the verifiers state
 * themselves, or with `--check` fails when the file is not what would be written.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type Tee, tees } from '@passport-kbs/protocol'
import {
  type AmdRiskRules,
  type Check,
  createAzureSnpVtpmVerifier,
  createAzureTdxVtpmVerifier,
  createCsvVerifier,
  createDcap,
  createSampleDeviceVerifier,
  createSampleVerifier,
  createSgxVerifier,
  createSnpVerifier,
  createTdxVerifier,
  createTpmVerifier,
  fixedCollateral,
  type HygonRiskRules,
  type IntelRiskRules,
  rejectionCodes,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { fuzzTable, readLongRun } from './fuzz/long-run.ts'

/** Where the matrix is kept. */
export const verificationMatrixFile: URL = new URL('../../docs/verification.md', import.meta.url)

/** What the evidence of a TEE is, in one sentence. */
const descriptions: Readonly<Partial<Record<Tee, string>>> = {
  snp: 'AMD SEV-SNP: an attestation report, signed by the chip’s VCEK or the provider’s VLEK.',
  'az-snp-vtpm': 'AMD SEV-SNP on Azure: a vTPM quote whose key the paravisor’s SNP report binds.',
  'az-tdx-vtpm': 'Intel TDX on Azure: a vTPM quote whose key the TD quote binds.',
  tdx: 'Intel TDX: a TD quote and, where the guest sends it, its CC event log.',
  sgx: 'Intel SGX: an ECDSA enclave quote.',
  csv: 'Hygon CSV: an attestation report and, where the guest sends it, its CC event log.',
  tpm: 'A TPM 2.0: a quote over its PCRs.',
  sample: 'Proves nothing: for the profile `development` only.',
  sampledevice: 'Proves nothing: for the profile `development` only.',
}

/** All rules of every vendor, so that their checks are listed. */
const amdRules: Required<AmdRiskRules> = {
  refusedProducts: [],
  minTcb: {},
  allowedChipIds: [],
  maxCertificateAgeDays: 0,
  maxCrlAgeDays: 0,
  flagOnly: false,
}
const intelRules: Required<IntelRiskRules> = {
  refusedProducts: [],
  acceptedTcbStatus: [],
  minTcbDate: '2026-01-01',
  minTcbEvaluationNumber: 0,
  allowedChipIds: [],
  maxCertificateAgeDays: 0,
  maxCrlAgeDays: 0,
  maxCollateralAgeDays: 0,
  flagOnly: false,
}
const hygonRules: Required<HygonRiskRules> = { minBuild: 0, allowedChipIds: [], flagOnly: false }

/** Every verifier, with the pinned roots and without a source: only its list of checks is read. */
function verifiers(): readonly Verifier[] {
  const dcap = createDcap({ collateral: fixedCollateral({}), risk: intelRules })
  return [
    createSnpVerifier({ policy: { risk: amdRules } }),
    createAzureSnpVtpmVerifier({ policy: { risk: amdRules } }),
    createTdxVerifier({ dcap }),
    createAzureTdxVtpmVerifier({ dcap }),
    createSgxVerifier({ dcap }),
    createCsvVerifier({ risk: hygonRules }),
    createTpmVerifier(),
    createSampleVerifier(),
    createSampleDeviceVerifier(),
  ]
}

/** Keys of the configuration that change what a check accepts. */
const switches: readonly (readonly [
  tee: string,
  check: string,
  key: string,
  fallback: string,
  what: string,
])[] = [
  [
    'snp, az-snp-vtpm',
    '`certificate-revocation`',
    '`snp_verifier.crl_policy`',
    '`soft`',
    '`off` reads no CRL; `soft` accepts a missing one; only `require` makes it a condition',
  ],
  [
    'snp, az-snp-vtpm',
    '`debug-gate`',
    '`snp_verifier.reject_debug`',
    'true in production',
    'where it is false, a debuggable guest is accepted and its claims say so: the policy decides; development only',
  ],
  [
    'snp, az-snp-vtpm',
    '`certificate-validity`',
    '`snp_verifier.cert_validity`',
    '`enforce`',
    '`ignore` accepts expired certificates; development only',
  ],
  ['snp', '`vmpl`', '`snp_verifier.allowed_vmpl`', '0', 'privilege levels that may report'],
  [
    'snp, az-snp-vtpm',
    '`chip-id`',
    '`snp_verifier.allow_masked_chip_id`',
    'false',
    'true accepts reports without chip id',
  ],
  [
    'az-snp-vtpm, az-tdx-vtpm',
    '`evidence-version`',
    '`az_…_verifier.min_evidence_version`',
    '0',
    'a higher version binds more',
  ],
  [
    'tdx, sgx, az-tdx-vtpm',
    '`debug`',
    '`dcap_verifier.allow_debug`',
    'false',
    'true accepts debuggable TEEs; development only',
  ],
  [
    'tdx, sgx, az-tdx-vtpm',
    '`pck-validity`, `collateral-validity`',
    '`dcap_verifier.report_expired`',
    'false',
    'true turns what has expired into a claim',
  ],
  [
    'tdx',
    '`evidence-format`',
    '`dcap_verifier.require_eventlog`',
    'false',
    'true refuses TDs without event log',
  ],
  [
    'csv',
    '`report-version`',
    '`csv_verifier.min_report_version`',
    '1',
    '2 refuses V1 reports, which can be shifted',
  ],
  [
    'csv',
    '`debug`',
    '`csv_verifier.allow_debug`',
    'false',
    'true accepts debuggable guests; development only',
  ],
  [
    'csv',
    '`init-data`',
    '`csv_verifier.ignore_init_data`',
    'false',
    'true accepts init data that nothing binds',
  ],
]

/** The check matrix as Markdown; `docs/verification.md` holds it. */
export function verificationMatrix(): string {
  const all = verifiers()
  const sections = [
    introduction,
    ...all.map(verifierSection),
    unverifiedSection(all),
    codeSection(all),
    fuzzingSection(),
  ]
  return `${sections.join('\n\n')}\n`
}

const introduction = `# What is verified

<!-- Made by \`node e2e/src/verification-matrix.ts\` from the verifiers in packages/tee-evidence. Do not edit. -->

Each verifier makes the checks of its list, on the whole in this order: what is cheap and needs no network comes first.
The first check that fails ends the verification with one of its codes. A check that ends in an unexpected error has
failed. Checks of an event log are made when the evidence has one. Checks whose source is
[risk-rules.md](risk-rules.md) are made when the operator has set that rule.

A check may also be impossible for want of what vouches for the evidence: a source of certificates, revocation lists or
collateral (AMD’s KDS, Intel’s PCS, a PCCS, Hygon’s service, a file) cannot be asked, is busy, or gives what cannot be used:
no certificate, a changed or expired document. Evidence is then not refused. The code is the same, but KBS1 answers 503 with
\`Retry-After\`, the attestation service \`UNAVAILABLE\` or 503; the audit record says \`failed\` instead of \`denied\`, and
\`kbs_attestation_unavailable_total\` counts it instead of \`kbs_attestation_failures_total\`. A source that was asked and has
nothing for the chip (404, 400, 410, 422; no file; the certificate of another chip), and a configuration without any source,
are a refusal: no guest gets 503 by naming a chip that does not exist. Of several sources each must have said so.

*Protects* says what an attacker gains where the check is missing. *Source* names the engineering specification (\`spec 03\`:
SNP, vTPM; \`spec 04\`: TDX, SGX, CSV, event logs) or the vendor’s document that demands it.

For each check there is a test in which that check alone fails: \`packages/tee-evidence/test/check-coverage.test.ts\` tries every
single defect on a verifier with all its checks switched on, and fails, naming them, where checks have no such defect. So a
check cannot be added untested, or lose its effect, without CI noticing.

## What configuration changes

These checks are looser or stricter by configuration ([configuration.md](configuration.md), \`verifier_config\`):

| TEE | Check | Key | Default | |
|---|---|---|---|---|
${switches.map((row) => `| ${row.join(' | ')} |`).join('\n')}`

function verifierSection({ tee, checks }: Verifier): string {
  const rows = checks.map(
    (check, index) =>
      `| ${index + 1} | \`${check.name}\` | ${cell(check.protects)} | ${codeList(check)} | ${cell(check.source)} |`,
  )
  return [
    `## ${tee}`,
    '',
    descriptions[tee] ?? '',
    '',
    '| | Check | Protects | Rejects with | Source |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

function codeList(check: Check): string {
  return check.codes.map((code) => `\`${code}\``).join(', ')
}

/** TEEs that messages can name but nobody verifies: they must not look verified by being left out. */
function unverifiedSection(all: readonly Verifier[]): string {
  const verified = new Set(all.map(({ tee }) => tee))
  const names = tees.filter((tee) => !verified.has(tee)).map((tee) => `\`${tee}\``)
  return `## TEEs without a verifier

Evidence of ${names.join(', ')} is refused: \`TEE_NOT_ENABLED\`.`
}

function codeSection(all: readonly Verifier[]): string {
  const rows = rejectionCodes.map((code) => {
    const places = all.flatMap(({ tee, checks }) =>
      checks.filter(({ codes }) => codes.includes(code)).map(({ name }) => `${tee}: \`${name}\``),
    )
    return { code, places }
  })
  return [
    '## Reason codes',
    '',
    'Codes are part of the public interface and are never renamed.',
    '',
    '| Code | Rejected by |',
    '|---|---|',
    ...rows
      .filter(({ places }) => places.length > 0)
      .map(({ code, places }) => `| \`${code}\` | ${places.join(', ')} |`),
  ].join('\n')
}

function fuzzingSection(): string {
  const run = readLongRun()
  return `## Fuzzing

Whatever reads untrusted bytes is fuzzed, guided by coverage ([decision 6](decisions/0006-own-coverage-guided-fuzzer.md)):
no input may throw anything but the typed rejection, allocate more than 64 MiB, or take longer than 50 ms of processor time.
A programming error that a check turned into a rejection is a finding, too. \`pnpm fuzz list\` names the targets, \`pnpm fuzz
[TARGET...] --seconds N\` fuzzes them, \`pnpm fuzz TARGET --input FILE\` repeats a finding; CI fuzzes each for a second.

The long run of ${run.date}, up to ${run.jobs} targets side by side at the lowest priority (${run.machine}, shared with other
work). Branches are those of the files that a target is about; some of them only configuration or a network can reach.

${fuzzTable(run)}

${(run.notes ?? []).join(' ')}

Found before and beside that run, mended, and kept as seeds in \`e2e/src/fuzz/regressions\`:

${found.map((line) => `- ${line}`).join('\n')}`
}

const found: readonly string[] = [
  'a JWK with members beyond ASCII, or with an RSA exponent of zero, ended in another error than `UnusableKey`;',
  'runtime data with a number beyond a double were a `TypeError` of the attestation service, not a refusal;',
  'a Rego function whose argument pattern has an unbound variable threw the compiler’s own signal;',
  'Rego’s `print` with two arguments, as a statement, could not be compiled.',
]

/** Text in a table cell: a bar would end it. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

async function main(options: readonly string[]): Promise<number> {
  const matrix = verificationMatrix()
  if (!options.includes('--check')) {
    await writeFile(verificationMatrixFile, matrix)
    return 0
  }
  const stored = await readFile(verificationMatrixFile, 'utf8').catch(() => '')
  if (stored === matrix) return 0
  console.error('docs/verification.md is not current: run node e2e/src/verification-matrix.ts')
  return 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2))
