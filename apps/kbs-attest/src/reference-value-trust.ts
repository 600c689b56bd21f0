import { readFile } from 'node:fs/promises'
import { type ReferenceValueTrust, readTrustedKey, TrustedKeyError } from '@passport-kbs/attestation-service'
import { type BuiltInAttestationConfig, ConfigError } from '@passport-kbs/service'

/** Who may sign reference values, as `rvps_config` says. @throws ConfigError for a key that cannot be used */
export async function openReferenceValueTrust(
  rvps: BuiltInAttestationConfig['rvpsConfig'],
): Promise<ReferenceValueTrust | undefined> {
  // what another process keeps is for that process to check
  if (rvps.type !== 'BuiltIn') return undefined
  const keys = await Promise.all(rvps.trustedKeys.map(readKey))
  return { keys, requireSigned: rvps.requireSigned }
}

async function readKey(path: string, index: number) {
  const refused = (problem: string, cause: unknown) => {
    const setting = `attestation_service.rvps_config.trusted_keys[${index}]`
    const remedy = 'Name a PEM file with a P-256, P-384 or Ed25519 public key'
    return new ConfigError([{ path: setting, problem: `${path} ${problem}`, remedy }], { cause })
  }
  const pem = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw refused('cannot be read', cause)
  })
  try {
    return readTrustedKey(pem)
  } catch (cause) {
    if (cause instanceof TrustedKeyError) throw refused(cause.message, cause)
    throw cause
  }
}
