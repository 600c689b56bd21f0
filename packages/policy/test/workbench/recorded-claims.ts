/** Claims that verifiers give for recorded evidence, by TEE. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromJs, inputOfRecord, parseJson, toJs, type Value } from '../../src/index.ts'

const folder = process.env.KBS_VECTORS ?? join(import.meta.dirname, '../../../../../shared/vectors')

/** Whether the recorded evidence is there. In CI its absence is a failure. */
export const hasVectors = existsSync(folder)

if (!hasVectors) {
  const text = `no vectors at ${folder}: set KBS_VECTORS to the folder of recorded evidence`
  if (process.env.CI === 'true') throw new Error(text)
  console.warn(`SKIPPED: ${text}`)
}

const folders = {
  snp: 'snp',
  'az-snp-vtpm': 'az-snp-vtpm',
  tdx: 'tdx/claims',
  sgx: 'sgx/claims',
  csv: 'csv/claims',
  tpm: 'tpm',
} as const

export type RecordedTee = keyof typeof folders

export const recordedTees = Object.keys(folders) as RecordedTee[]

/** Name and claims of every record of a TEE. Those of `tdx` that were recorded on Azure are of TD quotes too. */
export function recordedClaims(tee: RecordedTee): readonly (readonly [string, Value])[] {
  const path = join(folder, folders[tee])
  return readdirSync(path)
    .filter((name) => name.endsWith('.claims.json'))
    .map((name) => [name, parseJson(readFileSync(join(path, name), 'utf8'))] as const)
}

/** The payload of a token with these claims, of a guest with this status. */
export function tokenWith(tee: RecordedTee, claims: Value, status = 'affirming'): Value {
  const evidence = inputOfRecord(claims, 'attestation', { tee })
  return fromJs({
    eat_profile: 'tag:github.com,2024:confidential-containers/Trustee',
    iat: 1,
    exp: 2,
    iss: 'CoCo-Attestation-Service',
    'ear.verifier-id': { developer: 'd', build: 'b' },
    submods: {
      cpu0: {
        'ear.status': status,
        'ear.trustworthiness-vector': {
          ...Object.fromEntries(
            ['instance-identity', 'file-system', 'runtime-opaque', 'storage-opaque', 'sourced-data'].map(
              (name) => [name, 0],
            ),
          ),
          executables: 3,
          hardware: 2,
          configuration: 2,
        },
        'ear.appraisal-policy-id': 'default',
        'ear.veraison.annotated-evidence': toJs(evidence),
      },
    },
  })
}
