/** `pnpm conformance evidence [DIR...]`: runs every `cases*.json` of the vector folders through the verifiers. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { isJsonObject, type JsonObject, JsonSyntaxError, type JsonValue } from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { unmetExpectations } from './expectations.ts'
import { parseVector } from './mutations.ts'
import { type CaseRunner, type Outcome, VectorCase } from './vector-case.ts'

/** Folders of $KBS_VECTORS that hold evidence; `tpm` holds evidence but no case file of its own. */
const evidenceFolders = ['snp', 'az-snp-vtpm', 'tpm', 'tdx', 'az-tdx-vtpm', 'sgx', 'csv', 'eventlog']

interface FileResult {
  readonly file: string
  readonly passed: number
  readonly failures: readonly string[]
}

/** Runs the case files in `folders` (default: those of $KBS_VECTORS) and prints a table. Gives the exit code. */
export async function run(folders: readonly string[]): Promise<number> {
  const found = folders.map(caseFilesIn)
  const files = folders.length > 0 ? found.flat() : defaultCaseFiles()
  const results: FileResult[] = []
  for (const file of files) results.push(await runFile(file))
  print(results)
  const complete = results.length > 0 && found.every((inFolder) => inFolder.length > 0)
  return complete && results.every(({ failures }) => failures.length === 0) ? 0 : 1
}

function defaultCaseFiles(): string[] {
  const root = process.env.KBS_VECTORS ?? resolve(import.meta.dirname, '../../../../shared/vectors')
  return evidenceFolders.map((folder) => join(root, folder)).flatMap(caseFilesOf)
}

/** The case files of `folder`, or of the folders in it when it has none itself. */
function caseFilesIn(folder: string): string[] {
  const own = caseFilesOf(folder)
  if (own.length > 0 || !existsSync(folder)) return own
  const children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const found = children.flatMap((child) => caseFilesOf(join(folder, child.name)))
  if (found.length === 0) console.error(`no cases*.json in ${folder}`)
  return found.filter((file) => schemaOf(file).endsWith('-cases/1'))
}

function caseFilesOf(folder: string): string[] {
  if (!existsSync(folder)) return []
  const names = readdirSync(folder).filter((name) => /^cases.*\.json$/.test(name))
  return names.sort().map((name) => join(folder, name))
}

function schemaOf(file: string): string {
  const content = contentOf(file)
  // a file that cannot be read stays in the list, to be counted as a failure
  return isJsonObject(content) ? String(content.schema) : 'unreadable-cases/1'
}

/** Undefined for a file that is not JSON: it fails alone, the others are run. */
function contentOf(file: string): JsonValue | undefined {
  try {
    return parseVector(readFileSync(file))
  } catch (error) {
    if (error instanceof JsonSyntaxError) return undefined
    throw error
  }
}

async function runFile(path: string): Promise<FileResult> {
  const folder = resolve(path, '..')
  const file = join(basename(folder), basename(path))
  const content = contentOf(path)
  if (!isJsonObject(content) || !Array.isArray(content.cases)) {
    return { file, passed: 0, failures: ['not a case file'] }
  }
  const runner = await runnerFor(content)
  if (typeof runner === 'string') return { file, passed: 0, failures: [runner] }
  const failures: string[] = []
  for (const fields of content.cases) {
    if (!isJsonObject(fields)) {
      failures.push('a case that is not an object')
      continue
    }
    const vectorCase = new VectorCase(folder, content, fields)
    const unmet = await runCase(runner, vectorCase)
    if (unmet.length > 0) failures.push(`${vectorCase.id}: ${unmet.slice(0, 4).join('; ')}`)
  }
  return { file, passed: content.cases.length - failures.length, failures }
}

/** The runner for a case file, or why there is none: a TEE that nobody verifies is a failure. */
async function runnerFor(content: JsonObject): Promise<CaseRunner | string> {
  const schema = String(content.schema)
  const name = schema === 'evidence-cases/1' ? String(content.tee) : schema.replace(/-cases\/1$/, '')
  if (!/^[a-z0-9-]+$/.test(name)) return `unknown schema ${schema}`
  const module = join(import.meta.dirname, 'runners', `${name}.ts`)
  if (!existsSync(module)) return `no runner for ${name} (${schema})`
  const { runner } = (await import(module)) as { runner: CaseRunner }
  return runner
}

async function runCase(runner: CaseRunner, vectorCase: VectorCase): Promise<string[]> {
  try {
    return unmetExpectations(vectorCase, await outcomeOf(runner, vectorCase))
  } catch (error) {
    return [`unexpected ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`]
  }
}

async function outcomeOf(runner: CaseRunner, vectorCase: VectorCase): Promise<Outcome> {
  try {
    return await runner.run(vectorCase)
  } catch (error) {
    if (error instanceof EvidenceRejected) {
      return { result: 'reject', code: error.code, detail: `${error.check}: ${error.detail}` }
    }
    // The service parses a request before any verifier sees it, and refuses it for the same reason.
    if (error instanceof JsonSyntaxError) {
      return { result: 'reject', code: 'EVIDENCE_MALFORMED', detail: error.message }
    }
    throw error
  }
}

function print(results: readonly FileResult[]): void {
  const width = Math.max(4, ...results.map(({ file }) => file.length))
  console.log(`${'file'.padEnd(width)}  passed  failed`)
  for (const { file, passed, failures } of results) {
    const counts = `${String(passed).padStart(6)}  ${String(failures.length).padStart(6)}`
    console.log(`${file.padEnd(width)}  ${counts}`)
  }
  for (const { file, failures } of results) {
    for (const failure of failures) console.log(`FAILED ${file} ${failure}`)
  }
  if (results.length === 0) console.error('no case files found; set KBS_VECTORS or name folders')
}
