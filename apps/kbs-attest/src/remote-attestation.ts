import { readFile } from 'node:fs/promises'
import {
  type AttestationService,
  createTokenSigner,
  type TokenSigner,
} from '@passport-kbs/attestation-service'
import {
  createRemoteAttestationService,
  messageLimit,
  openTokenFile,
} from '@passport-kbs/attestation-service/remote'
import {
  type Config,
  ConfigError,
  createKeySource,
  type KeySource,
  type Logger,
  type RemoteAttestationConfig,
} from '@passport-kbs/service'
import { openRemoteTrust } from './remote-trust.ts'

/** As often as KBS2 reads the keys of its issuers. */
const keyRefresh = { refreshSeconds: 300, cooldownSeconds: 10, maxAgeSeconds: 86_400 }

/**
 * A service that verifies elsewhere. `sealing` makes the keys that sessions are sealed with: nothing else is signed
 * here.
 * @throws ConfigError, TokenFileError, KeySourceError, SigningKeyError for files that cannot be used; a service that does
 *   not answer is no reason not to start.
 */
export async function openRemoteAttestation(
  config: Config,
  remote: RemoteAttestationConfig,
  logger: Logger,
): Promise<{
  readonly attestation: AttestationService
  readonly sealing: TokenSigner
  close(): Promise<void>
}> {
  const { stateDir, httpServer } = config
  const keys = await openKeys(config, remote, logger)
  const trust = await openRemoteTrust('attestation_service', remote, logger)
  const sealing = await createTokenSigner({
    ...(remote.sessionKeyPath === undefined ? {} : { keyPath: remote.sessionKeyPath }),
    ...(stateDir === undefined ? {} : { stateDir }),
    onNotice: (notice, cause) => logger.warn(cause === undefined ? {} : { cause }, notice),
  })
  const attestation = createRemoteAttestationService({
    url: new URL(remote.asAddr),
    ...trust,
    token: remote.tokenFile === undefined ? undefined : await openTokenFile(remote.tokenFile),
    maxConnections: remote.poolSize,
    requestTimeoutMs: remote.requestTimeoutMs,
    messageLimit: messageLimit(httpServer.payloadRequestSize),
    policyId: remote.policyId,
    keys,
    issuer: remote.issuer,
  })
  const close = async () => {
    keys?.close()
    await attestation.close()
  }
  return { attestation, sealing, close }
}

async function openKeys(
  { profile }: Config,
  { jwkSetUri, ca }: RemoteAttestationConfig,
  logger: Logger,
): Promise<KeySource | undefined> {
  if (jwkSetUri === undefined) return undefined
  await readPem('ca', ca)
  return await createKeySource({
    source: jwkSetUri,
    format: 'jwk-set',
    profile,
    caFile: ca,
    logger,
    ...keyRefresh,
  })
}

async function readPem(setting: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const problem = { path: `attestation_service.${setting}`, problem: `${path} cannot be read` }
    throw new ConfigError([{ ...problem, remedy: 'Check the path and its permissions' }], { cause })
  }
}
