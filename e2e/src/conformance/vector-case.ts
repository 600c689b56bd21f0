/** One case of a `cases*.json` file, with its evidence mutated and its inputs decoded. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeHex, isJsonObject, type JsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'
import { mutateBytes, mutateJson, parseVector, VectorError } from './mutations.ts'

/**
 * What the code under test made of a case. `claims` are the verifier's claims, `report_data` and `init_data`
 * included. `failures` is for expectations that only the runner understands, one sentence each.
 */
export type Outcome =
  | { readonly result: 'accept'; readonly claims: JsonObject; readonly failures?: readonly string[] }
  | { readonly result: 'reject'; readonly code: string; readonly detail: string }

/**
 * Runs the cases of one TEE. `runners/<tee>.ts` exports one as `runner`; case files of another schema than
 * `evidence-cases/1` use the name before `-cases` (`eventlog-cases/1`: `runners/eventlog.ts`).
 */
export interface CaseRunner {
  run(vectorCase: VectorCase): Promise<Outcome>
}

export class VectorCase {
  /** Folder of the case file; all file names in a case are relative to it. */
  readonly folder: string
  readonly id: string
  readonly #fields: JsonObject
  readonly #file: JsonObject

  constructor(folder: string, file: JsonObject, fields: JsonObject) {
    this.folder = folder
    this.id = typeof fields.id === 'string' ? fields.id : '(no id)'
    this.#file = file
    this.#fields = fields
  }

  /** The member `name` of the case, else of the case file (`trust_root`, `collateral`, `options`, ...). */
  field(name: string): JsonValue | undefined {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : this.#file[name]
  }

  get tee(): string {
    return String(this.field('tee'))
  }

  /** `options` of the case, an empty object when absent. */
  get options(): JsonObject {
    const options = this.field('options')
    return isJsonObject(options) ? options : {}
  }

  /** What the case asks for as `name`: a member of `options`, or of the case or its file. */
  option(name: string): JsonValue | undefined {
    return Object.hasOwn(this.options, name) ? this.options[name] : this.field(name)
  }

  get expect(): JsonObject {
    const expect = this.#fields.expect
    if (!isJsonObject(expect)) throw new VectorError('case without expect')
    return expect
  }

  get now(): Date {
    return new Date(String(this.field('now') ?? this.field('default_now')))
  }

  get expectedReportData(): Uint8Array | undefined {
    return this.#hex('expected_report_data')
  }

  get expectedInitDataDigest(): Uint8Array | undefined {
    return this.#hex('expected_init_data_digest')
  }

  /** `now` and the expected values, in the shape of a `VerificationRequest`. */
  get request(): { now: Date; expectedReportData?: Uint8Array; expectedInitDataDigest?: Uint8Array } {
    const { now, expectedReportData, expectedInitDataDigest } = this
    return {
      now,
      ...(expectedReportData === undefined ? {} : { expectedReportData }),
      ...(expectedInitDataDigest === undefined ? {} : { expectedInitDataDigest }),
    }
  }

  /** The mutated evidence, parsed as the service parses it. Throws `JsonSyntaxError` where the service refuses it. */
  evidence(): JsonValue {
    return parseJson(this.json('evidence', 'mutations'))
  }

  /**
   * The text of the JSON file named by the field `name`, changed by the list in the field `mutations`.
   * `collateral` with `collateral_mutations` is read like this.
   */
  json(name: string, mutations: string): string {
    const text = Buffer.from(this.readFile(String(this.field(name)))).toString('utf8')
    return mutateJson(text, this.#mutations(mutations), this.folder)
  }

  /** The content of the file named by the field `name`, changed by the list in the field `mutations`. */
  bytes(name: string, mutations: string): Uint8Array {
    return mutateBytes(this.readFile(String(this.field(name))), this.#mutations(mutations))
  }

  /** A file of the vector folder. */
  readFile(name: string): Uint8Array {
    return readFileSync(join(this.folder, name))
  }

  /** A JSON file of the vector folder. */
  readJson(name: string): JsonValue {
    return parseVector(this.readFile(name))
  }

  #mutations(name: string): readonly JsonValue[] {
    const list = this.#fields[name]
    return Array.isArray(list) ? list : []
  }

  #hex(name: string): Uint8Array | undefined {
    const text = this.field(name)
    return typeof text === 'string' ? decodeHex(text) : undefined
  }
}
