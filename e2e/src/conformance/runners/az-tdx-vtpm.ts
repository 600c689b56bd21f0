import {
  type AzureEvidenceVersion,
  createAzureTdxVtpmVerifier,
  type Dcap,
  intelSgxRootCa,
  parsePckExtension,
  verifyPckChain,
  verifyQuoteSignature,
} from '@passport-kbs/tee-evidence'
import type { CaseRunner, VectorCase } from '../vector-case.ts'
import { caseDcap, runVerifier } from './dcap-case.ts'

/**
 * What the case files of this TEE ask for in place of DCAP: the quote must be signed with the key inside it. The chain is
 * read for the claim `platform_instance_id`; collateral plays no part.
 */
const signatureOnly: Dcap = {
  checks: [
    {
      name: 'attestation-key-signature',
      source: 'vectors/az-tdx-vtpm/cases.json, dcap',
      codes: ['QUOTE_SIGNATURE_INVALID'],
      protects: 'The quote could be changed.',
    },
    {
      name: 'pck-chain',
      source: 'vectors/az-tdx-vtpm/README.md',
      codes: ['PCK_CHAIN_INVALID', 'PCK_EXTENSION_INVALID'],
      protects: 'The claim platform_instance_id could be invented.',
    },
  ],
  authenticate(run, quote) {
    const data = quote.signatureData
    run.make('attestation-key-signature', () => verifyQuoteSignature(quote.signedBytes, data))
    return run.make('pck-chain', () => {
      const chain = verifyPckChain(data.pckChain, intelSgxRootCa)
      return { quote, chain, pck: parsePckExtension(chain.leaf, chain.issuer.ca) }
    })
  },
  appraise: async () => ({}),
}

/** Runs `az-tdx-vtpm` cases: with real DCAP where the case names collateral, else as above. */
export const runner: CaseRunner = {
  run(vectorCase) {
    const dcap = typeof vectorCase.field('collateral') === 'string' ? caseDcap(vectorCase) : signatureOnly
    const allowDebug = vectorCase.options.allow_debug === true
    const minEvidenceVersion = minimumVersion(vectorCase)
    return runVerifier(createAzureTdxVtpmVerifier({ dcap, allowDebug, minEvidenceVersion }), vectorCase)
  },
}

function minimumVersion(vectorCase: VectorCase): AzureEvidenceVersion {
  const version = vectorCase.option('min_evidence_version')
  return version === 1 || version === 2 ? version : 0
}
