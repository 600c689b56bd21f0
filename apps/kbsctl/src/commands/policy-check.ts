import { checkPolicy, type PolicyDiagnostic } from '@passport-kbs/policy'
import { readText } from '../files.ts'
import type { Terminal } from '../terminal.ts'

export interface PolicyCheckOptions {
  /** The syntax before `import rego.v1`. */
  readonly v0?: boolean
}

/** Compiles a policy and prints what is wrong with it. @returns whether nothing is. */
export async function policyCheck(
  terminal: Terminal,
  file: string,
  options: PolicyCheckOptions,
): Promise<boolean> {
  const source = { file, text: await readText(terminal, file) }
  const { errors, warnings } = checkPolicy([source], {
    dialect: options.v0 ? 'v0' : 'v1',
    // what the attestation service offers to its policies
    externals: [{ name: 'query_reference_value', arity: 1 }],
  })
  for (const error of errors) terminal.err(diagnosticLine('error', error))
  for (const warning of warnings) terminal.err(diagnosticLine('warning', warning))
  if (errors.length === 0) terminal.out(`${file}: ok`)
  return errors.length === 0
}

/** As compilers write it, so that editors find the place. */
function diagnosticLine(
  severity: 'error' | 'warning',
  { message, code, location }: PolicyDiagnostic,
): string {
  return `${location.file}:${location.line}:${location.column}: ${severity}: ${message} [${code}]`
}
