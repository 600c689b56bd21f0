/** Checks a policy for one of its purposes: what refuses it, and what is doubtful about it. */
import type { Unit } from '../compile/compiler.ts'
import { parseDisplayPath } from '../compile/rule-path.ts'
import type { PolicyDiagnostic } from '../errors.ts'
import { type CompileOptions, compileUnit, type PolicySource, QUERY_REFERENCE_VALUE } from '../policy.ts'
import { Source } from '../syntax/source.ts'
import { type PolicyPurpose, purposes } from './claim-paths.ts'
import { remedyOf } from './remedies.ts'
import { analyseRules } from './rule-analysis.ts'

/** A finding and what to do about it. Texts hold names and paths of the policy, never claims. */
export interface Finding extends PolicyDiagnostic {
  readonly severity: 'error' | 'warning'
  readonly remedy: string
}

export interface PolicyCheckOptions {
  readonly purpose: PolicyPurpose
  readonly dialect?: CompileOptions['dialect']
  /** Names of the reference values that are registered; without it names are not checked. */
  readonly referenceValues?: ReadonlySet<string>
}

/** More than anyone reads. */
const maxWarnings = 200

/** What the services compile policies of a purpose with. */
export function compileOptionsFor(purpose: PolicyPurpose): CompileOptions {
  return purpose === 'attestation' ? { externals: [QUERY_REFERENCE_VALUE] } : {}
}

/**
 * Findings in text order, at most 200 warnings; never throws. Of a policy that does not compile only errors are told.
 */
export function checkForPurpose(sources: readonly PolicySource[], options: PolicyCheckOptions): Finding[] {
  const { purpose, dialect } = options
  const unit = compileUnit(sources, { ...compileOptionsFor(purpose), ...(dialect ? { dialect } : {}) })
  if (unit.errors.length > 0) return unit.errors.map((found) => finding('error', found))
  const warnings = [
    ...missingRules(unit, purpose),
    ...unit.warnings,
    ...analyseRules(unit, purpose),
    ...unknownReferenceValues(unit, options.referenceValues),
  ]
  return warnings
    .toSorted(byPlace)
    .slice(0, maxWarnings)
    .map((found) => finding('warning', found))
}

/** The purpose that a text shows by the rules and functions that it names. */
export function probablePurpose(text: string): PolicyPurpose {
  return /\b(?:trust_claims|query_reference_value)\b/.test(text) ? 'attestation' : 'resource'
}

function finding(severity: Finding['severity'], found: PolicyDiagnostic): Finding {
  return { ...found, severity, remedy: remedyOf(found.code) }
}

function byPlace({ location: a }: PolicyDiagnostic, { location: b }: PolicyDiagnostic): number {
  return a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column
}

/** The rule that decides must be there, in the package that is asked for. */
function missingRules(unit: Unit, purpose: PolicyPurpose): PolicyDiagnostic[] {
  const [rule] = purposes[purpose].rules as [string, ...string[]]
  const node = unit.tree.find(parseDisplayPath(rule) ?? [])
  if (node?.group && node.group.kind !== 'function') return []
  const [module] = unit.modules
  const source = module?.source ?? new Source('', '')
  const start = module?.packageSpan.start ?? 0
  const isOtherPackage = unit.modules.every(({ packagePath }) => packagePath.join('.') !== 'policy')
  if (isOtherPackage) {
    const name = module?.packagePath.join('.') ?? ''
    return [
      source.diagnostic('package_name', `the package is \`${name}\`, so there is no \`${rule}\``, start),
    ]
  }
  const effect = purpose === 'resource' ? 'every request is denied' : 'tokens have the status "none"'
  return [source.diagnostic('missing_rule', `there is no rule \`${rule}\`: ${effect}`, start)]
}

function unknownReferenceValues(
  unit: Unit,
  known: ReadonlySet<string> | undefined,
): readonly PolicyDiagnostic[] {
  if (!known) return []
  const asked = unit.externalUses.flatMap(({ args: [name] }) => (typeof name === 'string' ? [name] : []))
  const [module] = unit.modules
  if (!module) return []
  return [...new Set(asked)]
    .filter((name) => !known.has(name))
    .map((name) => {
      const at = Math.max(0, module.source.text.indexOf(JSON.stringify(name)))
      const message = `no reference value ${JSON.stringify(name)} is registered`
      return module.source.diagnostic('unknown_reference_value', message, at)
    })
}
