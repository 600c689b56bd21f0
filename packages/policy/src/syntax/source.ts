/** One module's text with its line starts, bounds and byte order mark (spec 05 §3, §12). */
import type { PolicyDiagnostic, SourceLocation } from '../errors.ts'
import type { CompileLimits } from '../limits.ts'

/** A span of UTF-16 positions in one source. */
export interface Span {
  readonly source: Source
  readonly start: number
  readonly end: number
}

/** Thrown inside lexer, parser and checker; becomes part of a `PolicyCompileError`. */
export class DiagnosticError extends Error {
  readonly diagnostic: PolicyDiagnostic

  constructor(diagnostic: PolicyDiagnostic) {
    super(diagnostic.message)
    this.diagnostic = diagnostic
  }
}

export class Source {
  readonly file: string
  readonly text: string
  readonly #lineStarts: number[] = [0]

  constructor(file: string, text: string) {
    this.file = file
    this.text = text.startsWith('\uFEFF') ? text.slice(1) : text
    for (let i = this.text.indexOf('\n'); i >= 0; i = this.text.indexOf('\n', i + 1)) {
      this.#lineStarts.push(i + 1)
    }
  }

  /** The line number, from 1, of a position. */
  lineOf(position: number): number {
    let low = 0
    let high = this.#lineStarts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#lineStarts[middle] as number) <= position) low = middle
      else high = middle - 1
    }
    return low + 1
  }

  /** Line and column from 1, the column in code points. */
  locate(position: number): SourceLocation {
    const line = this.lineOf(position)
    const start = this.#lineStarts[line - 1] as number
    return { file: this.file, line, column: [...this.text.slice(start, position)].length + 1 }
  }

  lineText(line: number): string {
    const start = this.#lineStarts[line - 1] as number
    const next = this.#lineStarts[line]
    return this.text.slice(start, next === undefined ? undefined : next - 1).replace(/\r$/, '')
  }

  diagnostic(code: PolicyDiagnostic['code'], message: string, position: number): PolicyDiagnostic {
    const location = this.locate(position)
    const text = this.lineText(location.line)
    return { code, message, location, sourceLine: text.length > 512 ? `${text.slice(0, 512)}…` : text }
  }

  error(code: PolicyDiagnostic['code'], message: string, position: number): DiagnosticError {
    return new DiagnosticError(this.diagnostic(code, message, position))
  }

  /** Refuses a text beyond the source limits. */
  checkLimits(limits: CompileLimits): void {
    if (this.text.length > limits.sourceBytes || Buffer.byteLength(this.text) > limits.sourceBytes) {
      throw this.error('source_limit', `the text is larger than ${limits.sourceBytes} bytes`, 0)
    }
    if (this.#lineStarts.length > limits.lines + 1) {
      throw this.error('source_limit', `the text has more than ${limits.lines} lines`, 0)
    }
    for (let i = 0; i < this.#lineStarts.length; i++) {
      const start = this.#lineStarts[i] as number
      const end = (this.#lineStarts[i + 1] ?? this.text.length + 1) - 1
      if (end - start > limits.columns && [...this.text.slice(start, end)].length > limits.columns) {
        throw this.error('source_limit', `the line is longer than ${limits.columns} columns`, start)
      }
    }
  }
}
