import type { Program } from './config.ts'
import type { ConfigProblem } from './config-error.ts'
import { occurrences } from './occurrences.ts'

/** A choice that Trustee's configuration offers and this version does not have. */
interface UnavailableChoice {
  /** Path with `*` for a list index. */
  readonly path: string
  /** The values, in every spelling that Trustee takes. */
  readonly values: readonly string[]
  readonly remedy: string
  /** Whether the value decides which keys its table has, so that nothing else there can be judged. */
  readonly governsTable: boolean
  /** The programs in which the section has no effect. Default: none. */
  readonly withoutEffectIn?: readonly Program[]
}

/** Names that operators of Trustee know: each is refused by name rather than as an unknown value. */
export const unavailableChoices: readonly UnavailableChoice[] = [
  {
    path: 'plugins.*.name',
    values: [
      ...['sample', 'Sample', 'external', 'ExternalPlugin', 'provisioner', 'Provisioner'],
      ...['nebula-ca', 'NebulaCaPlugin', 'pkcs11', 'Pkcs11'],
    ],
    remedy: 'Remove the entry',
    governsTable: true,
    withoutEffectIn: ['kbs-attest', 'attestation-service'],
  },
  {
    path: 'plugins.*.storage_backend_type',
    values: ['Aliyun', 'aliyun', 'Aws', 'aws', 'Gcp', 'gcp'],
    remedy: 'Use "KvStorage", "Vault" or "AzureKeyVault"',
    governsTable: true,
    withoutEffectIn: ['kbs-attest', 'attestation-service'],
  },
]

/** What of a document this version does not have. */
export interface Unavailable {
  readonly problems: readonly ConfigProblem[]
  /** Whether the key at `path` goes with a choice that was refused, so that the schema has nothing to say on it. */
  covers(path: readonly PropertyKey[]): boolean
}

/**
 * Finds choices that this version does not have, before the schema, which knows neither them nor their keys, is asked.
 * A section that has no effect in `program` is taken out of `document`, in place, rather than refused.
 */
export function findUnavailable(document: Record<string, unknown>, program: Program): Unavailable {
  const problems: ConfigProblem[] = []
  const covered: (readonly PropertyKey[])[] = []
  for (const choice of unavailableChoices) {
    for (const { parent, name, steps, path } of occurrences(document, choice.path)) {
      const value = parent[name]
      if (typeof value !== 'string' || !choice.values.includes(value)) continue
      if (choice.withoutEffectIn?.includes(program)) {
        Reflect.deleteProperty(document, steps[0] ?? '')
        continue
      }
      problems.push({ path, problem: `"${value}" is not available in this version`, remedy: choice.remedy })
      covered.push(choice.governsTable ? steps.slice(0, -1) : steps)
    }
  }
  return { problems, covers: (path) => covered.some((prefix) => prefix.every((step, i) => path[i] === step)) }
}
