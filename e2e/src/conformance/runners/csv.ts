import { isJsonObject } from '@passport-kbs/protocol'
import {
  CheckFailure,
  createCsvVerifier,
  type HygonCertificateSource,
  type HygonRoot,
  hskCekOffer,
  hygonRoot,
} from '@passport-kbs/tee-evidence'
import type { CaseRunner, Outcome, VectorCase } from '../vector-case.ts'

/** Runs `csv` cases under the trust root that they name, with the HSK and CEK files that their look-up finds. */
export const runner: CaseRunner = {
  async run(vectorCase) {
    const root = caseRoot(vectorCase)
    if ('result' in root) return root
    const { options } = vectorCase
    const verifier = createCsvVerifier({
      root,
      certificateSource: offlineFiles(vectorCase),
      allowDebug: options.allow_debug === true,
      ignoreInitData: options.ignore_init_data === true,
      requireEventLog: options.require_eventlog === true,
      minReportVersion: vectorCase.option('min_report_version') === 2 ? 2 : 1,
    })
    const [entry] = await verifier.verify(vectorCase.evidence(), vectorCase.request)
    if (entry === undefined) throw new Error('no entry')
    return { result: 'accept', claims: entry.claims }
  },
}

/** The trust root of the case; a root that does not hold is what a verifier would be refused at start. */
function caseRoot(vectorCase: VectorCase): HygonRoot | Outcome {
  try {
    return hygonRoot(vectorCase.readFile(String(vectorCase.field('trust_root'))))
  } catch (error) {
    if (!(error instanceof CheckFailure)) throw error
    return { result: 'reject', code: error.code, detail: error.message }
  }
}

function offlineFiles(vectorCase: VectorCase): HygonCertificateSource {
  const files = vectorCase.field('offline_hsk_cek')
  return {
    name: 'files of the case',
    async hskCek(chipId) {
      const file = isJsonObject(files) && Object.hasOwn(files, chipId) ? files[chipId] : undefined
      return file === undefined ? undefined : hskCekOffer(vectorCase.readFile(String(file)))
    },
  }
}
