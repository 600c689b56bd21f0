import { decodeBase64, encodeUtf8, type JsonObject } from '@passport-kbs/protocol'
import {
  type CollateralSource,
  createAzureSnpVtpmVerifier,
  createAzureTdxVtpmVerifier,
  createCsvVerifier,
  createDcap,
  createSgxVerifier,
  createSnpVerifier,
  createTdxVerifier,
  createTpmVerifier,
  type Dcap,
  fixedCollateral,
  type QuoteCollateral,
  type Verifier,
} from '@passport-kbs/tee-evidence'

type MakeVerifier = (dcap: () => Dcap) => Verifier

/** Verifiers with the pinned roots and no network: what evidence does not bring with it, they do not have. */
const makers: Readonly<Record<string, MakeVerifier>> = {
  snp: () => createSnpVerifier(),
  'az-snp-vtpm': () => createAzureSnpVtpmVerifier(),
  'az-tdx-vtpm': (dcap) => createAzureTdxVtpmVerifier({ dcap: dcap() }),
  tdx: (dcap) => createTdxVerifier({ dcap: dcap() }),
  sgx: (dcap) => createSgxVerifier({ dcap: dcap() }),
  csv: () => createCsvVerifier(),
  tpm: () => createTpmVerifier(),
}

/** TEEs whose evidence can be verified offline. */
export const offlineTees: readonly string[] = Object.keys(makers)

/**
 * The verifier of a TEE for recorded evidence; undefined if there is none.
 * @param collateral Intel's signed documents, recorded beside the quote; without them a quote cannot be appraised.
 */
export function offlineVerifier(tee: string, collateral: CollateralSource): Verifier | undefined {
  if (!Object.hasOwn(makers, tee)) return undefined
  return makers[tee]?.(() => createDcap({ collateral }))
}

/**
 * A recorded bundle of Intel's collateral: an object with `tcb_info` and `qe_identity` (JSON text as signed), their
 * `…_issuer_chain` (PEM), and `pck_crl` and `root_ca_crl` (base64 of DER).
 * @throws EncodingError
 */
export function recordedCollateral(bundle: JsonObject): CollateralSource {
  const text = (name: string) => {
    const member = bundle[name]
    return typeof member === 'string' ? member : undefined
  }
  const signed = (name: string) => {
    const body = text(name)
    if (body === undefined) return undefined
    const issuerChain = text(`${name}_issuer_chain`)
    return { body: encodeUtf8(body), ...(issuerChain === undefined ? {} : { issuerChain }) }
  }
  const list = (name: string) => {
    const body = text(name)
    return body === undefined ? undefined : { body: decodeBase64(body) }
  }
  const documents = {
    tcbInfo: signed('tcb_info'),
    qeIdentity: signed('qe_identity'),
    pckCrl: list('pck_crl'),
    rootCaCrl: list('root_ca_crl'),
  }
  const present = Object.entries(documents).filter(([, document]) => document !== undefined)
  return fixedCollateral(Object.fromEntries(present) as Partial<QuoteCollateral>)
}

/** No collateral at all. */
export const noCollateral: CollateralSource = fixedCollateral({})
