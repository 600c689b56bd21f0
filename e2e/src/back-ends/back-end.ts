import type { Program } from '../program.ts'
import type { Expectations, Fault, Mend } from './faults.ts'

/** One row of the table: a back end as the configuration names it, and how it fails. */
export interface BackEnd<Stage> {
  /** How a reader knows it. */
  readonly name: string
  /** Which choice of the configuration this is, for the test that no choice is without a row. */
  readonly choice: string
  readonly expectations: Expectations
  /** Whether it can run here; says loudly what is missing. Default: yes. */
  available?(): boolean
  open(stage: Stage): Promise<OpenBackEnd>
}

/** A back end and the program that uses it, both running. */
export interface OpenBackEnd {
  /** The program that depends on it. */
  readonly kbs: Program
  /** A guest from its first request to the decrypted secret. */
  guest(): Promise<Uint8Array>
  /** What `guest` gets when all is well. */
  readonly secret: Uint8Array
  /** The answer to a guest that reads, or to an administrator who writes, where that needs the back end. */
  ask(on: 'read' | 'write'): Promise<Response>
  begin(fault: Fault): Promise<Mend>
  /** What must be in no log. */
  readonly confidential: readonly string[]
  /** How often a redirect was followed. */
  strayed?(): number
  close(): Promise<void>
}
