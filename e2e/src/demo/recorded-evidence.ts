import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { parseJson, resolvePointer } from '@passport-kbs/protocol'
import { vectorsFolder } from '../vectors.ts'
import type { Narrator } from './narrator.ts'
import { payloadOf, type Scene } from './passport-flow.ts'

/** Evidence of real machines, and the report data they were asked for (their folder's README). */
const recordings = [
  { file: 'evidence-v1.json', machine: 'Azure CVM on Milan', reportData: '6368616c6c656e6765' },
  {
    file: 'evidence-genoa.json',
    machine: 'Azure CVM on Genoa',
    reportData:
      '0218488bae25d2509232bf676f1a66a30d7372add909109b36016ef136f2938ca05475f8b46094de6b64270ea35d950f',
  },
]

/** KBS1's attestation service on recorded Azure evidence: real hardware signatures, AMD's real roots. */
export async function verifyRecordedEvidence(narrator: Narrator, { trustee1 }: Scene): Promise<void> {
  narrator.step('KBS1 verifies recorded evidence of real Azure SEV-SNP machines')
  const folder = new URL('az-snp-vtpm/', vectorsFolder())
  if (!existsSync(folder)) {
    narrator.note(
      'skipped: no recordings here; set KBS_VECTORS to the folder of test vectors to see this step',
    )
    return
  }
  for (const { file, machine, reportData } of recordings) {
    const evidence = parseJson(await readFile(new URL(file, folder)))
    const { token } = await trustee1.attestation.evaluate(
      [
        {
          tee: 'az-snp-vtpm',
          evidence,
          runtimeData: { kind: 'raw', bytes: Buffer.from(reportData, 'hex') },
          runtimeDataHash: 'sha384',
        },
      ],
      { now: new Date(), requestId: 'demo' },
    )
    const claims = payloadOf(token)
    const seen = resolvePointer(claims, '/submods/cpu0/ear.veraison.annotated-evidence/report_data')
    narrator.check(
      seen === reportData,
      `${machine}: chip, paravisor and vTPM signatures verified to AMD's root`,
    )
    const status = resolvePointer(claims, '/submods/cpu0/ear.status')
    narrator.check(
      status === 'contraindicated',
      `appraised as ${String(status)}: nobody has vouched for that machine`,
    )
  }
}
