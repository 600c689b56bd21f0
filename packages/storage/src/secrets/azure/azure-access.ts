import type { TokenCredential } from '@azure/identity'
import type { SecretClientOptions } from '@azure/keyvault-secrets'
import { StorageBusy, StorageUnavailable } from '../../key-value-store.ts'
import { retryAfterMs } from '../retry-after.ts'
import { SecretAccessRefused } from '../secret-backend.ts'

/** How a process reaches one Key Vault, and proves who it is. In configurations these keys are in snake_case. */
export interface AzureAccess {
  /** `https://<name>.vault.azure.net` */
  readonly vaultUri: string
  readonly credential: 'workload-identity' | 'managed-identity' | 'environment'
  readonly clientId?: string
  readonly timeoutMs: number
}

/** What else a client may be given; tests stand in for Azure with it. */
export interface AzureSeams {
  readonly credential?: TokenCredential
  readonly client?: Pick<SecretClientOptions, 'tlsOptions' | 'disableChallengeResourceVerification'>
}

export async function credentialOf(
  { credential, clientId }: AzureAccess,
  seams: AzureSeams,
): Promise<TokenCredential> {
  if (seams.credential !== undefined) return seams.credential
  // a large library, which only those pay for who use it
  const azure = await import('@azure/identity')
  const client = clientId === undefined ? {} : { clientId }
  switch (credential) {
    case 'workload-identity':
      return new azure.WorkloadIdentityCredential(client)
    case 'managed-identity':
      return new azure.ManagedIdentityCredential(client)
    case 'environment':
      return new azure.EnvironmentCredential()
  }
}

/** Without retries: a guest waits, and the next request asks again. */
export function clientOptions({ client }: AzureSeams): SecretClientOptions {
  return {
    retryOptions: { maxRetries: 0 },
    redirectOptions: { maxRetries: 0 },
    additionalPolicies: [{ policy: answerPolicy, position: 'perRetry' }],
    ...client,
  }
}

type Policy = NonNullable<SecretClientOptions['additionalPolicies']>[number]['policy']

/** Key Vault holds 25 KiB in a secret. */
const largestAnswer = 1_048_576

/** Azure's libraries read bodies of any length, and what is no JSON as an answer without members. */
const answerPolicy: Policy = {
  name: 'answerPolicy',
  async sendRequest(request, next) {
    const tooLarge = new AbortController()
    const { abortSignal } = request
    if (abortSignal?.aborted === true) tooLarge.abort()
    abortSignal?.addEventListener('abort', () => tooLarge.abort())
    request.abortSignal = tooLarge.signal
    let large = false
    request.onDownloadProgress = ({ loadedBytes }) => {
      large = loadedBytes > largestAnswer
      if (large) tooLarge.abort()
    }
    const response = await next(request).catch((error: unknown) => {
      throw large ? new StorageUnavailable('the answer of Key Vault is too large') : error
    })
    const { status, headers } = response
    if (status >= 300 && status < 400)
      throw new StorageUnavailable(`Key Vault cannot answer: ${status}, a redirect`)
    if (status === 200 && !/^application\/json\b/i.test(headers.get('content-type') ?? ''))
      throw new StorageUnavailable('the answer of Key Vault is not JSON')
    return response
  },
}

/** What a failed call of Azure's libraries means here. Their messages may quote what was sent: codes only. */
export function keyVaultFailure(error: unknown): StorageUnavailable {
  const { statusCode, code, name, response } = error as {
    statusCode?: number
    code?: string
    name: string
    response?: { headers?: { get(name: string): string | undefined } }
  }
  if (name === 'AbortError') return new StorageUnavailable('Key Vault has not answered in time')
  // what Azure's libraries stumble over when they read a body that is none of Key Vault's
  if (statusCode === undefined && ['TypeError', 'SyntaxError'].includes(name))
    return new StorageUnavailable('the answer of Key Vault cannot be understood')
  const message = `Key Vault cannot answer: ${[statusCode, code ?? name].filter(Boolean).join(' ')}`
  if (statusCode !== undefined && [400, 401, 403].includes(statusCode)) {
    return new SecretAccessRefused(message)
  }
  const waitMs = retryAfterMs(response?.headers?.get('retry-after'))
  return waitMs === undefined ? new StorageUnavailable(message) : new StorageBusy(message, waitMs)
}
