/** What an evaluation did with each body and each expression, for people. No claim values: paths and kinds only. */
import type { ResolvedReference } from '../compile/resolved.ts'
import { toDisplayPath } from '../compile/rule-path.ts'
import type { BranchSite, ExpressionSite, TraceListener, TraceSites } from '../compile/trace-sites.ts'
import type { SourceLocation } from '../errors.ts'
import type { Span } from '../syntax/source.ts'
import { kindOf, lookup, type Value } from '../values/value.ts'

/**
 * `held`: for all that it was tried with; `partly`: for some; `failed`: for none; `not-reached`: an expression before it
 * failed, or nothing asked for the rule.
 */
export type ExpressionState = 'held' | 'partly' | 'failed' | 'not-reached'

export interface ExpressionTrace {
  readonly location: SourceLocation
  /** As it is written, on one line. */
  readonly text: string
  readonly state: ExpressionState
  /** References without a value, and why. */
  readonly undefinedPaths: readonly string[]
  /** Expressions of its comprehensions, or of its `every`. */
  readonly within: readonly ExpressionTrace[]
}

/** One body of a rule. */
export interface BodyTrace {
  /** `data.policy.allow` */
  readonly rule: string
  readonly location: SourceLocation
  readonly state: 'succeeded' | 'failed' | 'not-reached'
  readonly isDefault: boolean
  readonly expressions: readonly ExpressionTrace[]
  /** References of the head without a value. */
  readonly undefinedPaths: readonly string[]
}

interface Counts {
  reached: number
  held: number
  readonly undefinedPaths: Set<string>
}

/** Different paths kept for one expression. */
const maxPaths = 16
const maxText = 160

/** Listens to one evaluation, or to several of the same policy. */
export class TraceRecorder implements TraceListener {
  readonly #sites: TraceSites
  readonly #branches = new Map<BranchSite, Counts>()
  readonly #expressions = new Map<ExpressionSite, Counts>()

  constructor(sites: TraceSites) {
    this.#sites = sites
  }

  started(branch: BranchSite): void {
    countsOf(this.#branches, branch).reached++
  }

  succeeded(branch: BranchSite): void {
    countsOf(this.#branches, branch).held++
  }

  reached(expression: ExpressionSite): void {
    countsOf(this.#expressions, expression).reached++
  }

  held(expression: ExpressionSite): void {
    countsOf(this.#expressions, expression).held++
  }

  undefinedReference(
    { branch, expression }: Parameters<TraceListener['undefinedReference']>[0],
    reference: ResolvedReference,
    span: Span,
    input: Value | undefined,
  ): void {
    const { undefinedPaths } = expression
      ? countsOf(this.#expressions, expression)
      : countsOf(this.#branches, branch)
    if (undefinedPaths.size < maxPaths) undefinedPaths.add(whyUndefined(reference, span, input))
  }

  wasReached(site: BranchSite | ExpressionSite): boolean {
    const counts = 'group' in site ? this.#branches.get(site) : this.#expressions.get(site)
    return (counts?.reached ?? 0) > 0
  }

  /** All bodies, in text order. */
  bodies(): readonly BodyTrace[] {
    return this.#sites.branches.toSorted(byStart).map((branch) => this.#body(branch))
  }

  #body(branch: BranchSite): BodyTrace {
    const counts = this.#branches.get(branch)
    const own = this.#sites.expressions.filter((site) => site.branch === branch)
    return {
      rule: toDisplayPath(branch.group.node.path),
      location: locationOf(branch.span),
      state: !counts ? 'not-reached' : counts.held > 0 ? 'succeeded' : 'failed',
      isDefault: branch.isDefault,
      expressions: this.#below(undefined, own),
      undefinedPaths: [...(counts?.undefinedPaths ?? [])],
    }
  }

  #below(parent: ExpressionSite | undefined, own: readonly ExpressionSite[]): readonly ExpressionTrace[] {
    return own
      .filter((site) => site.parent === parent)
      .toSorted(byStart)
      .map((site) => {
        const counts = this.#expressions.get(site)
        return {
          location: locationOf(site.span),
          text: textOf(site.span),
          state: stateOf(counts),
          undefinedPaths: [...(counts?.undefinedPaths ?? [])],
          within: this.#below(site, own),
        }
      })
  }
}

function countsOf<K>(all: Map<K, Counts>, site: K): Counts {
  let counts = all.get(site)
  if (!counts) {
    counts = { reached: 0, held: 0, undefinedPaths: new Set() }
    all.set(site, counts)
  }
  return counts
}

function stateOf(counts: Counts | undefined): ExpressionState {
  if (!counts || counts.reached === 0) return 'not-reached'
  if (counts.held === 0) return 'failed'
  return counts.held < counts.reached ? 'partly' : 'held'
}

/** Names the last part of the path that exists, and its kind. */
function whyUndefined({ base, path }: ResolvedReference, span: Span, input: Value | undefined): string {
  const text = textOf(span)
  if (base !== 'input') return `\`${text}\` is undefined`
  if (input === undefined) return `\`${text}\` is undefined: there is no input`
  let at: Value = input
  let name = 'input'
  for (const part of path) {
    if (part.kind !== 'constant') return `\`${text}\` is undefined`
    const next = lookup(at, part.value)
    const key = JSON.stringify(part.value)
    if (next === undefined) {
      const kind = kindOf(at)
      const reason = kind === 'object' || kind === 'array' ? `has no ${key}` : `is ${kind} and has no members`
      return `\`${text}\` is undefined: \`${name}\` ${reason}`
    }
    at = next
    name +=
      typeof part.value === 'string' && /^[A-Za-z_]\w*$/.test(part.value) ? `.${part.value}` : `[${key}]`
  }
  return `\`${text}\` is undefined`
}

function byStart(a: { readonly span: Span }, b: { readonly span: Span }): number {
  if (a.span.source !== b.span.source) return a.span.source.file < b.span.source.file ? -1 : 1
  return a.span.start - b.span.start
}

function locationOf({ source, start }: Span): SourceLocation {
  return source.locate(start)
}

function textOf({ source, start, end }: Span): string {
  const text = source.text.slice(start, end).replace(/\s+/g, ' ').trim()
  return text.length > maxText ? `${text.slice(0, maxText)}…` : text
}
