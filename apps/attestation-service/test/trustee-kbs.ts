import { fileURLToPath } from 'node:url'
import {
  ChannelCredentials,
  Client,
  type ClientOptions,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

/** A peer that knows the interface from `test/proto` only, as a KBS of Trustee would call it. */
export interface TrusteeKbs {
  readonly client: Client
  /** Rejects with the `ServiceError`. */
  call<T = Record<string, unknown>>(
    service: string,
    method: string,
    request: object,
    metadata?: Record<string, string>,
  ): Promise<T>
}

const protos = ['attestation', 'reference', 'health'].map((name) =>
  fileURLToPath(new URL(`proto/${name}.proto`, import.meta.url)),
)
const definitions = loadSync(protos, { keepCase: true, enums: String })

export const attestation = 'attestation.AttestationService'
export const reference = 'reference.ReferenceValueProviderService'
export const health = 'grpc.health.v1.Health'

/** @param address `host:port` */
export function connect(
  address: string,
  credentials = ChannelCredentials.createInsecure(),
  options: ClientOptions = {},
): TrusteeKbs {
  const client = new Client(address, credentials, { 'grpc.use_local_subchannel_pool': 1, ...options })
  return {
    client,
    call: <T>(service: string, method: string, request: object, headers: Record<string, string> = {}) =>
      new Promise<T>((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = methodOf(service, method)
        const metadata = new Metadata()
        for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
        const deadline = Date.now() + 20_000
        client.makeUnaryRequest(
          path,
          requestSerialize,
          (bytes) => responseDeserialize(bytes) as T,
          request,
          metadata,
          { deadline },
          (error: ServiceError | null, response?: T) => {
            if (error !== null || response === undefined) reject(error ?? new Error('no response'))
            else resolve(response)
          },
        )
      }),
  }
}

export function methodOf(service: string, method: string): MethodDefinition<object, object> {
  const definition = definitions[service] as Record<string, MethodDefinition<object, object>> | undefined
  const found = definition?.[method]
  if (found === undefined) throw new Error(`no method ${service}/${method}`)
  return found
}
