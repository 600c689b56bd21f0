/** Makes a policy's input of what administrators have at hand: tokens, their payloads, reports of `kbsctl verify`, claims. */
import { parseJson } from '../values/json.ts'
import { isArray, ObjectBuilder, RegoObject, type Value } from '../values/value.ts'
import { annotatedEvidence, type PolicyPurpose } from './claim-paths.ts'

/** The document cannot be the input of such a policy; the text says what it should be. */
export class UnusableRecord extends Error {
  override readonly name = 'UnusableRecord'
}

export interface RecordOptions {
  /** Which entry of a token's `submods` an attestation policy sees. */
  readonly submod?: string | undefined
  /** Whose claims these are, where they are a verifier's and nothing says so. */
  readonly tee?: string | undefined
}

const annotated = 'ear.veraison.annotated-evidence'
const jws = /^[\w-]+\.([\w-]+)\.[\w-]*$/

/**
 * Reads a record: a token as it is sent (its signature is not looked at), or JSON.
 * @throws UnusableRecord, JSON's syntax errors as `PolicyEvaluationError`
 */
export function readRecord(text: string): Value {
  const payload = jws.exec(text.trim())?.[1]
  if (payload === undefined) {
    const document = parseJson(text)
    const token = document instanceof RegoObject ? document.get('token') : undefined
    return typeof token === 'string' && document instanceof RegoObject && document.size === 1
      ? readRecord(token)
      : document
  }
  return parseJson(Buffer.from(payload, 'base64url').toString('utf8'))
}

/**
 * The input of a policy. A resource policy sees the token's payload; an attestation policy sees the annotated evidence of
 * one submod, or a verifier's claims with `report_data` and `init_data` moved to the top (spec 02 §2.6).
 */
export function inputOfRecord(document: Value, purpose: PolicyPurpose, options: RecordOptions = {}): Value {
  if (!(document instanceof RegoObject)) throw new UnusableRecord('the record is not an object')
  if (purpose === 'resource') {
    if (document.get('submods') instanceof RegoObject || options.tee === undefined) return document
    throw new UnusableRecord('a resource policy sees a token; these are the claims of a verifier')
  }
  const submods = document.get('submods')
  if (submods instanceof RegoObject) return annotatedOf(submods, options.submod ?? 'cpu0')
  const verified = verifiedClaims(document)
  if (verified) return annotate(verified.claims, verified.tee)
  if (options.tee !== undefined) return annotate(document, options.tee)
  const tees = annotatedEvidence.alternatives ?? []
  if (tees.some((tee) => document.get(tee) !== undefined)) return document
  throw new UnusableRecord(
    'these are neither a token nor annotated evidence; say whose claims they are (--tee)',
  )
}

function annotatedOf(submods: RegoObject, name: string): Value {
  const submod = submods.get(name)
  const evidence = submod instanceof RegoObject ? submod.get(annotated) : undefined
  if (evidence !== undefined) return evidence
  throw new UnusableRecord(`the token has no annotated evidence of ${JSON.stringify(name)}`)
}

/** What `kbsctl verify --json` prints. */
function verifiedClaims(report: RegoObject): { claims: RegoObject; tee: string } | undefined {
  const evidence = report.get('evidence')
  const [first] = isArray(evidence) ? evidence : []
  if (!(first instanceof RegoObject)) return undefined
  const claims = first.get('claims')
  const tee = first.get('tee')
  return claims instanceof RegoObject && typeof tee === 'string' ? { claims, tee } : undefined
}

function annotate(claims: RegoObject, tee: string): Value {
  const top = new ObjectBuilder()
  const own = new ObjectBuilder()
  for (const key of claims.keys()) {
    const value = claims.get(key) as Value
    if (key !== 'report_data' && key !== 'init_data') own.set(key, value)
    else {
      top.set(key, value)
      top.set(key === 'report_data' ? 'runtime_data_claims' : 'init_data_claims', null)
    }
  }
  top.set(tee, own.build())
  return top.build()
}
