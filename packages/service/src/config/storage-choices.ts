import {
  resolveStorageConfig,
  type StorageConfig,
  StorageConfigError,
  type StorageType,
} from '@passport-kbs/storage'
import type { StorageChoices } from './config.ts'
import type { ConfigProblem } from './config-error.ts'
import type { RawConfig } from './schema.ts'

/** Which store holds what (spec 01 §5.3, §7). `REDIS_URL` and `POSTGRES_URL` override addresses. */
export function chooseStorage(
  config: RawConfig,
  env: Readonly<Record<string, string | undefined>>,
): { readonly choices: StorageChoices | undefined; readonly problems: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = []
  const choose = (type: StorageType): StorageConfig => {
    try {
      return resolveStorageConfig(config.storage_backend, { type, env })
    } catch (error) {
      if (!(error instanceof StorageConfigError)) throw error
      const [path = 'storage_backend', ...text] = error.message.split(': ')
      if (!problems.some((known) => known.path === path)) {
        problems.push({ path, problem: text.join(': '), remedy: 'Correct [storage_backend]' })
      }
      return { type: 'Memory' }
    }
  }
  const main = config.storage_backend.storage_type
  const isShared = main === 'Redis' || main === 'Postgres'
  const service = config.attestation_service
  const ownStores =
    service.type === 'coco_as_builtin'
      ? { policies: service.storage_type, values: valueStorage(service.rvps_config) }
      : undefined
  const choices: StorageChoices = {
    data: choose(main),
    // sessions hold passports, which need not be on a disk
    sessions: choose(config.session_storage_type ?? (isShared ? main : 'Memory')),
    attestationPolicies: choose(ownStores?.policies ?? main),
    referenceValues: choose(ownStores?.values ?? main),
  }
  return { choices: problems.length === 0 ? choices : undefined, problems }
}

/** None where another process keeps the values: then it is not used. */
function valueStorage(
  rvps: Extract<RawConfig['attestation_service'], { type: 'coco_as_builtin' }>['rvps_config'],
) {
  return rvps.type === 'BuiltIn' ? rvps.storage_type : undefined
}
