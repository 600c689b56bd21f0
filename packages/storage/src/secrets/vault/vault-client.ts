import { StorageUnavailable } from '../../key-value-store.ts'
import type { VaultAccess } from './vault-config.ts'
import { type VaultAnswer, type VaultCall, VaultConnection } from './vault-connection.ts'
import { openVaultToken } from './vault-token.ts'

/** One Vault or OpenBao server, spoken to with a token that is kept fresh. */
export interface VaultClient {
  /** With the token; once more with a new one where the old is refused and a new one can be had. @throws StorageUnavailable */
  call(request: VaultCall): Promise<VaultAnswer>
  /** Resolves when the server answers and is unsealed. It needs no token and says nothing of ours. @throws StorageUnavailable */
  ping(): Promise<void>
  close(): Promise<void>
}

/** A server that is down is no error here. @throws StorageConfigError when a CA file cannot be read */
export async function openVaultClient(access: VaultAccess): Promise<VaultClient> {
  const connection = await VaultConnection.open(access)
  const token = openVaultToken(connection, access)
  return {
    async call(request) {
      const used = await token.current()
      const answer = await connection.call({ ...request, token: used })
      if (answer.status !== 403 || !token.refused(used)) return answer
      return connection.call({ ...request, token: await token.current() })
    },
    async ping() {
      // standbys forward what they are asked
      const path = 'sys/health?standbyok=true&perfstandbyok=true'
      const { status } = await connection.call({ method: 'GET', path, outsideNamespace: true })
      if (status !== 200) throw new StorageUnavailable(`Vault calls its health ${status}`)
    },
    async close() {
      token.close()
      await connection.close()
    },
  }
}
