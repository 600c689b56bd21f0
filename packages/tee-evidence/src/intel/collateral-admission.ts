import { fail } from '../rejection.ts'
import type { Certificate } from '../x509/certificate.ts'
import { type IntelRoot, parseCertificateList } from './certificate-chain.ts'
import { type CollateralDocument, createCollateralAuthenticator } from './collateral.ts'
import type { CollateralKey } from './collateral-key.ts'
import { type PckIssuer, verifyPckIssuer } from './pck-certificate.ts'

/** From when to when a document may be used, in milliseconds since 1970. */
export interface DocumentWindow {
  readonly begin: number
  readonly end: number
}

/**
 * Decides what may enter a cache: only what is signed, well-formed, and the document that was asked for.
 * @param issuer the CA of a PCK CRL, out of a verified quote; without it the chain beside the CRL is verified
 * @returns the window of document and signer together; whether it is open now is the caller's business
 * @throws CheckFailure with the reason for which a verifier would refuse the document
 */
export type AdmitCollateral = (
  key: CollateralKey,
  document: CollateralDocument,
  issuer: PckIssuer | undefined,
) => DocumentWindow

export function createAdmission(root: IntelRoot): AdmitCollateral {
  const authenticator = createCollateralAuthenticator(root)
  return (key, document, issuer) => {
    switch (key.kind) {
      case 'tcb-info': {
        const { signer, read } = authenticator.tcbInfo(document)
        const info = read()
        if (info.id !== key.tee.toUpperCase() || info.fmspc !== key.fmspc) {
          fail('TCB_INFO_MISMATCH', `asked for ${key.tee} ${key.fmspc}, got ${info.id} ${info.fmspc}`)
        }
        return signedWindow(info, signer)
      }
      case 'qe-identity': {
        const { signer, read } = authenticator.qeIdentity(document)
        const identity = read()
        const id = key.tee === 'tdx' ? 'TD_QE' : 'QE'
        if (identity.id !== id) fail('QE_IDENTITY_MISMATCH', `asked for ${id}, got ${identity.id}`)
        return signedWindow(identity, signer)
      }
      case 'pck-crl': {
        const crl = authenticator.pckCrl(document, issuer ?? issuerBeside(document, key.ca, root))
        return { begin: crl.thisUpdate.getTime(), end: crl.nextUpdate.getTime() }
      }
      case 'root-ca-crl': {
        const crl = authenticator.rootCaCrl(document)
        return { begin: crl.thisUpdate.getTime(), end: crl.nextUpdate.getTime() }
      }
    }
  }
}

function signedWindow(dates: { issueDate: string; nextUpdate: string }, signer: Certificate): DocumentWindow {
  return {
    begin: Math.max(Date.parse(dates.issueDate), signer.notBefore.getTime()),
    end: Math.min(Date.parse(dates.nextUpdate), signer.notAfter.getTime()),
  }
}

function issuerBeside({ issuerChain }: CollateralDocument, ca: PckIssuer['ca'], root: IntelRoot): PckIssuer {
  const [certificate] = parseCertificateList(issuerChain ?? '', 2, 'CRL_INVALID')
  if (certificate === undefined) fail('CRL_INVALID', 'no issuer chain')
  const issuer = verifyPckIssuer(certificate, root)
  return issuer.ca === ca ? issuer : fail('CRL_INVALID', `a CRL of the ${issuer.ca} CA, not of the ${ca} CA`)
}
