import type { Tee } from '@passport-kbs/protocol'
import { type AttestationService, InvalidPolicyId, ReferenceValueError } from '../attestation-service.ts'
import { openTokenFile } from '../remote/token-file.ts'
import { attestRequest, intelHashes, isIntelTee, type PolicyChoice } from './attest-request.ts'
import { type ConnectionOptions, openConnection } from './connection.ts'
import { readMintedToken, type TokenVerifier } from './minted-token.ts'

export interface IntelTrustAuthorityOptions extends PolicyChoice, Omit<ConnectionOptions, 'apiKey'> {
  /** File with the API key; read again, so that a new key needs no restart. */
  readonly apiKeyFile: string
  /** For tokens of `intelTrustAuthorityIssuer` by the keys that Intel publishes. Closed with the service. */
  readonly tokens: TokenVerifier
  /** Development only: accepts guests that their host may debug. */
  readonly allowDebug: boolean
}

/** `iss` of every token of Intel Trust Authority. */
export const intelTrustAuthorityIssuer = 'Intel Trust Authority'

/**
 * Has evidence of TDX, SGX and Azure TDX verified by Intel Trust Authority (spec 02 §8). The token is Intel's own,
 * verified here before it is handed out. Attestation policies and reference values are Intel's affair as well.
 * @throws TokenFileError where there is no API key.
 */
export async function createIntelTrustAuthority(
  options: IntelTrustAuthorityOptions,
): Promise<AttestationService> {
  const { apiKeyFile, tokens, allowDebug, ...settings } = options
  const policies: PolicyChoice = settings
  const apiKey = await openTokenFile(apiKeyFile)
  const connection = openConnection({ ...settings, apiKey: () => apiKey.token() })
  return {
    issuer: intelTrustAuthorityIssuer,
    async evaluate(items, { policyId }) {
      if (policyId !== undefined) throw notHere()
      const { path, body, expected } = attestRequest(items, policies)
      const token = await connection.attest(path, body)
      return await readMintedToken(token, expected, { tokens, policies, allowDebug })
    },
    negotiate,
    setPolicy: async () => {
      throw notHere()
    },
    getPolicy: async () => undefined,
    listPolicies: async () => [],
    registerReferenceValues: async () => {
      throw new ReferenceValueError(
        'reference values are managed at Intel Trust Authority: write them into a policy there',
      )
    },
    queryReferenceValue: async () => undefined,
    // relying parties take Intel's keys from Intel, not from whoever hands its tokens on
    jwks: () => ({ keys: [] }),
    async ping() {
      await Promise.all([tokens.ping(), apiKey.token()])
    },
    async close() {
      connection.close()
      tokens.close()
    },
  }
}

function notHere(): InvalidPolicyId {
  return new InvalidPolicyId(
    'attestation policies are managed at Intel Trust Authority: name their ids in policy_ids',
  )
}

/** Spec 02 §8.2. A guest that offers nothing is told nothing: it passes only if its own default is what Intel expects. */
function negotiate(tee: Tee, offered: readonly string[] | undefined) {
  if (!isIntelTee(tee)) throw new Error('ITA: Unknown TEE specified')
  const hash = intelHashes[tee]
  if (offered === undefined) return { hash, announce: false }
  if (offered.length === 0) throw new Error('ITA: TEE does not support any hash algorithms')
  if (!offered.some((name) => name.toLowerCase() === hash))
    throw new Error(`ITA: ${tee} needs ${hash}, which the TEE does not offer`)
  return { hash, announce: true }
}
