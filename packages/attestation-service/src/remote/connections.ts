import {
  ChannelCredentials,
  Client,
  type ClientOptions,
  type Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js'

/** Where an attestation service is, and what this side shows of itself. */
export interface RemoteAddress {
  /** `http://host:port` or `https://host:port`. */
  readonly url: URL
  /** PEM certificates that the server's is checked against, instead of the system's. */
  readonly ca?: string | undefined
  /** PEM key and certificate chain of this client. */
  readonly identity?: { readonly key: string; readonly certificate: string } | undefined
}

/** Connections to one service. */
export interface Connections {
  /** @param deadline in milliseconds of the system's clock. Rejects with gRPC's `ServiceError`. */
  call<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    options: { readonly metadata: Metadata; readonly deadline: number },
  ): Promise<Response>
  close(): void
}

/** Below the streams that servers allow on one connection. */
const callsPerConnection = 50

const serviceConfig = JSON.stringify({
  // every address behind a name gets its share, so that replicas do
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{}],
      // every method may be called again: nothing but a token comes of an evaluation
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: '0.2s',
        maxBackoff: '2s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
})

/**
 * Opens connections when calls need them, at most `maxConnections`. A silent connection is asked every half minute
 * whether its peer is still there, so that a call does not find out (spec 01 §11.5, 44); a lost one is made again.
 * @param messageLimit of what may be received, in bytes.
 */
export function openConnections(
  address: RemoteAddress,
  { maxConnections, messageLimit }: { readonly maxConnections: number; readonly messageLimit: number },
): Connections {
  const { url } = address
  const credentials = credentialsFor(address)
  const target = `dns:///${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`
  const options: ClientOptions = {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': messageLimit,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 5_000,
    'grpc.enable_http_proxy': 0,
    'grpc.service_config': serviceConfig,
    'grpc.service_config_disable_resolution': 1,
  }
  const clients: { readonly client: Client; calls: number }[] = []

  const leastBusy = () => {
    const [first, ...others] = clients
    const least = first && others.reduce((a, b) => (b.calls < a.calls ? b : a), first)
    if (least !== undefined && (least.calls < callsPerConnection || clients.length >= maxConnections))
      return least
    const opened = { client: new Client(target, credentials, options), calls: 0 }
    clients.push(opened)
    return opened
  }
  return {
    async call(method, request, { metadata, deadline }) {
      const connection = leastBusy()
      connection.calls++
      try {
        return await unaryCall(connection.client, method, request, { metadata, deadline })
      } finally {
        connection.calls--
      }
    },
    close() {
      for (const { client } of clients.splice(0)) client.close()
    },
  }
}

function unaryCall<Request, Response>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Request, Response>,
  request: Request,
  { metadata, deadline }: { readonly metadata: Metadata; readonly deadline: number },
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const done = (error: ServiceError | null, response?: Response) => {
      if (error === null && response !== undefined) resolve(response)
      else reject(error ?? new Error('the response has no message'))
    }
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      { deadline },
      done,
    )
  })
}

function credentialsFor({ url, ca, identity }: RemoteAddress): ChannelCredentials {
  if (url.protocol === 'http:') return ChannelCredentials.createInsecure()
  const buffer = (pem: string | undefined) => (pem === undefined ? null : Buffer.from(pem))
  return ChannelCredentials.createSsl(buffer(ca), buffer(identity?.key), buffer(identity?.certificate))
}
