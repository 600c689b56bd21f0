import { randomBytes } from 'node:crypto'
import { type FakeKeyVault, startFakeKeyVault } from '@passport-kbs/testing/key-vault'
import type { Organisation } from '../organisation.ts'
import { startAzureNetwork } from './azure-network.ts'
import { Front } from './front.ts'
import { connect, forward, startWebBackEnd, type WebBackEnd } from './web-back-end.ts'

/** Key Vault and Entra under their public names, as a program with `env` sees them. */
export interface Azure {
  readonly keyVault: FakeKeyVault
  /** Before the vault, not before Entra. */
  readonly front: WebBackEnd
  readonly vaultUri: string
  /** The token of the service account. */
  readonly assertion: string
  /** What the webhook of workload identity puts into a pod, and the way here. */
  readonly env: Readonly<Record<string, string>>
  close(): Promise<void>
}

const entraHost = 'login.microsoftonline.com'

/** @param options.vault its name. @param options.tokenSeconds how long a token of Entra lasts. */
export async function startAzure(
  organisation: Organisation,
  { vault, tokenSeconds = 3_600 }: { readonly vault: string; readonly tokenSeconds?: number },
): Promise<Azure> {
  const vaultHost = `${vault}.vault.azure.net`
  const keyVault = await startFakeKeyVault({ authority: `https://${entraHost}`, tokenSeconds })
  const front = await startWebBackEnd(keyVault, { names: [vaultHost] })
  const entra = await Front.start({ names: [entraHost], ca: front.front.ca })
  connect(entra, forward(keyVault))
  const network = await startAzureNetwork({
    [`${vaultHost}:443`]: front.front.port,
    [`${entraHost}:443`]: entra.port,
  })
  const assertion = `service-account-${randomBytes(24).toString('base64url')}`
  keyVault.assertion = assertion
  return {
    keyVault,
    front,
    vaultUri: `https://${vaultHost}`,
    assertion,
    env: {
      AZURE_TENANT_ID: keyVault.tenant,
      AZURE_CLIENT_ID: '22222222-2222-4333-8444-555555555555',
      AZURE_FEDERATED_TOKEN_FILE: await organisation.write('azure-identity-token', assertion),
      HTTPS_PROXY: network.url,
      NODE_EXTRA_CA_CERTS: await organisation.write('azure-ca.pem', front.front.ca.pem),
    },
    async close() {
      await network.close()
      await entra.close()
      await front.close()
      await keyVault.stop()
    },
  }
}
