import {
  messageLimit,
  openRemoteReferenceValues,
  openTokenFile,
  type RemoteReferenceValues,
} from '@passport-kbs/attestation-service/remote'
import { type BuiltInAttestationConfig, type Logger, referenceValueAddress } from '@passport-kbs/service'
import { openRemoteTrust } from './remote-trust.ts'

const section = 'attestation_service.rvps_config'
/** As many as Trustee's AS has to its RVPS (spec 02 §6.4). */
const maxConnections = 10

/**
 * The provider that `rvps_config` names; undefined where values are kept here.
 * @throws ConfigError, TokenFileError for files that cannot be used; a provider that does not answer is no reason not to start
 */
export async function openReferenceValueProvider(
  { rvpsConfig }: BuiltInAttestationConfig,
  logger: Logger,
): Promise<RemoteReferenceValues | undefined> {
  if (rvpsConfig.type !== 'GrpcRemote') return undefined
  const { address, tokenFile, requestTimeoutMs, cacheMs } = rvpsConfig
  return openRemoteReferenceValues({
    url: new URL(referenceValueAddress(address)),
    ...(await openRemoteTrust(section, rvpsConfig, logger)),
    token: tokenFile === undefined ? undefined : await openTokenFile(tokenFile),
    maxConnections,
    requestTimeoutMs,
    messageLimit: messageLimit(0),
    cacheMs,
  })
}
