/** One thing that is wrong with the configuration, said so that the operator can mend it. */
export interface ConfigProblem {
  /** Key path as in the file, e.g. `http_server.sockets[0]`; or the file, argument or variable at fault. */
  readonly path: string
  readonly problem: string
  readonly remedy: string
}

/** The configuration cannot be used. Carries every problem found, not only the first; no values of secrets. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]
  constructor(problems: readonly ConfigProblem[], options?: { cause?: unknown }) {
    super(problems.map((p) => `${p.path}: ${p.problem}. ${p.remedy}`).join('\n'), options)
    this.problems = problems
  }
}
