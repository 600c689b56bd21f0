import { readFile } from 'node:fs/promises'
import { createTokenSigner } from '@passport-kbs/attestation-service'
import {
  createIntelTrustAuthority,
  intelTrustAuthorityIssuer,
} from '@passport-kbs/attestation-service/intel-trust-authority'
import {
  type AttestationTokenConfig,
  type Config,
  ConfigError,
  createPassportVerifier,
  type IntelTrustAuthorityConfig,
  type Logger,
  type PassportVerifier,
} from '@passport-kbs/service'
import type { OpenAttestation } from './open-attestation.ts'

/**
 * Intel Trust Authority as the attestation service. `sealing` makes the keys that sessions are sealed with: nothing else is
 * signed here.
 * @throws ConfigError, TokenFileError, KeySourceError, SigningKeyError for files that cannot be used; that Intel does not
 *   answer is no reason not to start.
 */
export async function openIntelTrustAuthority(
  config: Config,
  intel: IntelTrustAuthorityConfig,
  logger: Logger,
): Promise<OpenAttestation> {
  const { profile, stateDir } = config
  const onNotice = (notice: string, cause?: unknown) =>
    logger.warn(cause === undefined ? {} : { cause }, notice)
  if (intel.apiKeyFile === undefined) throw unreadable('api_key_file', 'the API key')
  const ca = intel.ca === undefined ? undefined : await readCa(intel.ca)
  const sealing = await createTokenSigner({
    ...(intel.sessionKeyPath === undefined ? {} : { keyPath: intel.sessionKeyPath }),
    ...(stateDir === undefined ? {} : { stateDir }),
    onNotice,
  })
  const tokens = await openTokenVerifier(config, intel, logger)
  const attestation = await createIntelTrustAuthority({
    baseUrl: intel.baseUrl,
    apiKeyFile: intel.apiKeyFile,
    ca,
    totalTimeoutMs: intel.requestTimeoutMs,
    tokens,
    policyIds: intel.policyIds,
    allowUnmatchedPolicy: intel.allowUnmatchedPolicy,
    allowDebug: profile === 'development',
    onNotice,
  }).catch((error: unknown) => {
    tokens.close()
    throw error
  })
  return { attestation, sealing, close: () => attestation.close() }
}

/** Intel's keys for tokens of Intel's name, and nobody else's: whom KBS2 trusts besides has no say here. */
function openTokenVerifier(
  { attestationToken, profile }: Config,
  { certsFile, ca }: IntelTrustAuthorityConfig,
  logger: Logger,
): Promise<PassportVerifier> {
  const { jwksRefreshSeconds, jwksCooldownSeconds, jwksMaxAgeSeconds, clockSkewSeconds } = attestationToken
  const keys = { jwkSets: [certsFile], certs: [], ...(ca === undefined ? {} : { ca }) }
  const settings: AttestationTokenConfig = {
    ...{ jwksRefreshSeconds, jwksCooldownSeconds, jwksMaxAgeSeconds, clockSkewSeconds },
    issuers: [{ issuer: intelTrustAuthorityIssuer, ...keys }],
    trustedCertsPaths: [],
    trustedJwkSets: [],
    extraTeekeyPaths: [],
    insecureHeaderJwk: false,
  }
  return createPassportVerifier(settings, { logger, profile })
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw unreadable('ca', path, cause)
  }
}

function unreadable(setting: string, what: string, cause?: unknown): ConfigError {
  const problem = { path: `attestation_service.${setting}`, problem: `${what} cannot be read` }
  return new ConfigError([{ ...problem, remedy: 'Check the path and its permissions' }], { cause })
}
