/** What the runners of `tdx` and `sgx` have in common: collateral, trust root and options of a case. */
import { decodeBase64, EncodingError, encodeUtf8, isJsonObject, parseJson } from '@passport-kbs/protocol'
import {
  type CollateralDocument,
  type CollateralSource,
  createDcap,
  type Dcap,
  fixedCollateral,
  intelRoot,
  type QuoteCollateral,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import type { Outcome, VectorCase } from '../vector-case.ts'

/** Bundle of schema `dcap-collateral/1`, as the case wants it changed; `null` means that nothing can be had. */
export function caseCollateral(vectorCase: VectorCase): CollateralSource {
  if (typeof vectorCase.field('collateral') !== 'string') return fixedCollateral({})
  const bundle = parseJson(vectorCase.json('collateral', 'collateral_mutations'))
  if (!isJsonObject(bundle)) throw new Error('the collateral bundle is not an object')
  const text = (name: string) => {
    const value = bundle[name]
    return typeof value === 'string' ? value : undefined
  }
  const document = (name: keyof QuoteCollateral, body: Uint8Array | undefined, issuerChain?: string) => {
    if (body === undefined) return {}
    const served: CollateralDocument = issuerChain === undefined ? { body } : { body, issuerChain }
    return { [name]: served }
  }
  const bytes = (name: string, decode: (text: string) => Uint8Array) => {
    const value = text(name)
    return value === undefined ? undefined : decode(value)
  }
  return fixedCollateral({
    ...document('tcbInfo', bytes('tcb_info', encodeUtf8), text('tcb_info_issuer_chain')),
    ...document('qeIdentity', bytes('qe_identity', encodeUtf8), text('qe_identity_issuer_chain')),
    ...document('pckCrl', bytes('pck_crl', crlBody)),
    ...document('rootCaCrl', bytes('root_ca_crl', crlBody)),
  })
}

/** Base64 of a response body. What a mutation has made something else is served as it is: no CRL either way. */
function crlBody(text: string): Uint8Array {
  try {
    return decodeBase64(text)
  } catch (error) {
    if (error instanceof EncodingError) return encodeUtf8(text)
    throw error
  }
}

/** The DCAP part as the case configures it. */
export function caseDcap(vectorCase: VectorCase): Dcap {
  const trustRoot = vectorCase.field('trust_root')
  return createDcap({
    collateral: caseCollateral(vectorCase),
    reportExpired: vectorCase.options.report_expired === true,
    ...(typeof trustRoot === 'string' ? { root: intelRoot(vectorCase.readFile(trustRoot)) } : {}),
  })
}

/** Runs the case and gives the claims of its one entry. */
export async function runVerifier(verifier: Verifier, vectorCase: VectorCase): Promise<Outcome> {
  const entries = await verifier.verify(vectorCase.evidence(), vectorCase.request)
  const [entry] = entries
  if (entry === undefined || entries.length !== 1) throw new Error(`${entries.length} entries of evidence`)
  return { result: 'accept', claims: entry.claims }
}
