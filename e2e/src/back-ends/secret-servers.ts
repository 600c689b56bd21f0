import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { startFakeVault } from '@passport-kbs/testing/vault'
import { type RealVault, startVault, vaultProgram } from '@passport-kbs/testing/vault/real'
import { type ConfigTable, createOrganisation } from '../organisation.ts'
import { startAzure } from './azure.ts'
import type { BackEnd, OpenBackEnd } from './back-end.ts'
import { type Expectations, noDiskOfOurs } from './faults.ts'
import { newSecret, type SecretStage, startKbs2 } from './secret-stage.ts'
import { startWebBackEnd } from './web-back-end.ts'

const path = 'default/key/one'

/** `/readyz` is `degraded`, and 200: a replica that cannot answer would be no better elsewhere. */
const vaultExpectations: Expectations = {
  down: { log: /Vault cannot be reached: ECONNREFUSED/, ready: 200 },
  slow: { log: /Vault has not answered within 1000 ms/, ready: 200 },
  trickling: { log: /Vault has not answered within 1000 ms/, ready: 200 },
  'unknown CA': { log: /UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE/, ready: 200 },
  'wrong name': { log: /ERR_TLS_CERT_ALTNAME_INVALID/, ready: 200 },
  'expired certificate': { log: /CERT_HAS_EXPIRED/, ready: 200 },
  'expired credential': { log: /Vault refuses the (token|login)/, ready: 200 },
  quota: { log: /Vault answered with status 429/, ready: 200 },
  'quota with Retry-After': { log: /Vault answered with status 429/, ready: 200 },
  'no format': { log: /the answer of Vault is no JSON object/, ready: 200 },
  'wrong shape': { log: /the answer of Vault has no (entry|token)/, ready: 200 },
  'huge answer': { log: /the answer of Vault is too large|Vault has not answered/, ready: 200 },
  'truncated answer': { log: /Vault cannot be reached: (UND_ERR_SOCKET|ECONNRESET)/, ready: 200 },
  'web page': { log: /the answer of Vault is no JSON object/, ready: 200 },
  redirect: { log: /Vault answered with status 307/, ready: 200 },
  ...noDiskOfOurs,
}

const vaultFile: BackEnd<SecretStage> = {
  name: 'Vault, KV version 1, token in a file',
  choice: 'Vault 1',
  expectations: vaultExpectations,
  async open(stage) {
    const vault = await firstVersionVault()
    const secret = newSecret()
    await vault.put(path, { data: [...secret] })
    const token = await vault.newToken()
    const engine = { kv_version: 1, mount_path: vault.mount }
    const row = await openVault(stage, vault, secret, engine, async (write) => ({
      token_file: await write('vault.token', `${token}\n`),
    }))
    return {
      ...row,
      confidential: [token],
      async begin(fault) {
        if (fault !== 'expired credential') return row.begin(fault)
        await vault.revoke(token)
        // an agent of Vault puts the next token there
        return async () => void (await row.organisation.write('vault.token', `${await vault.newToken()}\n`))
      },
    }
  },
}

/** Vault as its administrator sees it. */
interface FirstVersionVault {
  readonly url: string
  readonly ca: string
  readonly mount: string
  put(path: string, entry: object): Promise<void>
  newToken(): Promise<string>
  revoke(token: string): Promise<void>
  stop(): Promise<void>
}

/** The real one where there is one, else its stand-in. */
async function firstVersionVault(): Promise<FirstVersionVault> {
  const program = vaultProgram()
  if (program !== undefined) return realVault(await startVault(program))
  const vault = await startFakeVault()
  return {
    url: vault.url,
    ca: vault.ca,
    mount: 'secret',
    put: async (where, entry) => void vault.entries.set(where, entry),
    async newToken() {
      const token = `hvs.${randomBytes(24).toString('base64url')}`
      vault.tokens.set(token, { ttl: 0, renewable: false })
      return token
    },
    revoke: async (token) => void vault.tokens.delete(token),
    stop: () => vault.stop(),
  }
}

function realVault(vault: RealVault): FirstVersionVault {
  return {
    url: vault.url,
    ca: vault.ca,
    mount: 'first',
    put: async (where, entry) => void (await vault.administer('POST', `first/${where}`, entry)),
    async newToken() {
      const policy = 'path "first/*" { capabilities = ["read"] }'
      await vault.administer('PUT', 'sys/policies/acl/kbs', { policy })
      const created = await vault.administer('POST', 'auth/token/create', { policies: ['kbs'], ttl: '1h' })
      return (created as { readonly auth: { readonly client_token: string } }).auth.client_token
    },
    revoke: async (token) => void (await vault.administer('POST', 'auth/token/revoke', { token })),
    stop: () => vault.stop(),
  }
}

const vaultKubernetes: BackEnd<SecretStage> = {
  name: 'Vault, KV version 2, by Kubernetes auth',
  choice: 'Vault 2',
  expectations: vaultExpectations,
  async open(stage) {
    const vault = await startFakeVault()
    const secret = newSecret()
    vault.versions.set(path, [{ data: [...secret] }])
    const jwt = `service-account-${randomBytes(24).toString('base64url')}`
    vault.jwt = jwt
    const row = await openVault(stage, vault, secret, { kv_version: 2, mount_path: 'kv' }, async (write) => ({
      kubernetes: { role: 'kbs', jwt_file: await write('account.token', `${jwt}\n`) },
    }))
    return {
      ...row,
      confidential: [jwt],
      async begin(fault) {
        if (fault !== 'expired credential') return row.begin(fault)
        vault.tokens.clear()
        vault.jwt = 'the next one'
        return async () => {
          vault.jwt = jwt
        }
      },
    }
  },
}

async function openVault(
  stage: SecretStage,
  vault: { readonly url: string; readonly ca: string; stop(): Promise<void> },
  secret: Uint8Array,
  engine: ConfigTable,
  credential: (write: (file: string, text: string) => Promise<string>) => Promise<ConfigTable>,
) {
  const organisation = await createOrganisation('trustee-2')
  const server = await startWebBackEnd(vault)
  const plugin = {
    name: 'resource',
    storage_backend_type: 'Vault',
    vault_url: server.url,
    ca_certs: [await organisation.write('vault-ca.pem', server.front.ca.pem)],
    timeout_ms: 1_000,
    ...engine,
    ...(await credential(organisation.write)),
  }
  const { asking } = await startKbs2(stage, organisation, { plugins: [plugin] }, { path, secret })
  return {
    ...asking,
    organisation,
    begin: server.begin,
    strayed: server.strayed,
    async close() {
      await organisation.close()
      await server.close()
      await vault.stop()
    },
  }
}

/** As with Vault; and Key Vault is asked rarely, for each question counts against the quota. */
const keyVaultExpectations: Expectations = {
  down: { log: /Key Vault cannot answer: (REQUEST_SEND_ERROR|ECONN\w+)/, ready: 200 },
  slow: { log: /Key Vault has not answered in time/, ready: 200 },
  trickling: { log: /Key Vault has not answered in time/, ready: 200 },
  'unknown CA': {
    log: /Key Vault cannot answer: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)/,
    ready: 200,
  },
  'wrong name': { log: /Key Vault cannot answer: ERR_TLS_CERT_ALTNAME_INVALID/, ready: 200 },
  'expired certificate': { log: /Key Vault cannot answer: CERT_HAS_EXPIRED/, ready: 200 },
  'expired credential': { log: /Key Vault cannot answer: (401|\w*Authentication\w*)/, ready: 200 },
  quota: { log: /Key Vault cannot answer: 429/, ready: 200 },
  'quota with Retry-After': { log: /Key Vault cannot answer: 429/, ready: 200 },
  'no format': { log: /Key Vault cannot answer: 200 PARSE_ERROR/, ready: 200 },
  'wrong shape': { log: /the answer of Key Vault (has no secret|cannot be understood)/, ready: 200 },
  'huge answer': { log: /the answer of Key Vault is too large/, ready: 200 },
  'truncated answer': {
    log: /Key Vault cannot answer: (REQUEST_SEND_ERROR|ECONNRESET|PARSE_ERROR)/,
    ready: 200,
  },
  'web page': { log: /the answer of Key Vault is not JSON/, ready: 200 },
  redirect: { log: /Key Vault cannot answer: 307, a redirect/, ready: 200 },
  ...noDiskOfOurs,
}

const azureKeyVault: BackEnd<SecretStage> = {
  name: 'Azure Key Vault, by workload identity',
  choice: 'AzureKeyVault',
  expectations: keyVaultExpectations,
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    // tokens that do not outlive a test
    const azure = await startAzure(organisation, { vault: 'my-vault', tokenSeconds: 2 })
    const secret = newSecret()
    azure.keyVault.secrets.set('default--key--one', [
      {
        id: 'a'.repeat(32),
        value: Buffer.from(secret).toString('base64'),
        contentType: 'application/octet-stream',
      },
    ])
    const plugin = {
      name: 'resource',
      storage_backend_type: 'AzureKeyVault',
      vault_uri: azure.vaultUri,
      cache_ms: 0,
      timeout_ms: 2_000,
    }
    const options = { path, secret, env: azure.env }
    const { asking } = await startKbs2(stage, organisation, { plugins: [plugin] }, options)
    const row: OpenBackEnd = {
      ...asking,
      confidential: [azure.assertion, Buffer.from(secret).toString('base64url')],
      async begin(fault) {
        if (fault !== 'expired credential') return azure.front.begin(fault)
        azure.keyVault.assertion = 'the next one'
        azure.keyVault.tokens.clear()
        // until the token that KBS2 has ends
        await delay(2_100)
        return async () => {
          azure.keyVault.assertion = azure.assertion
        }
      },
      strayed: azure.front.strayed,
      async close() {
        await organisation.close()
        await azure.close()
      },
    }
    return row
  },
}

/** Secrets on servers that are asked over HTTPS for each secret. */
export const secretServers: readonly BackEnd<SecretStage>[] = [vaultFile, vaultKubernetes, azureKeyVault]
