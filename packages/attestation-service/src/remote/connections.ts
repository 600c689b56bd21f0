import {
  ChannelCredentials,
  Client,
  type ClientOptions,
  type Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { healthServiceDefinition, serviceNames } from './proto.ts'

/** By what a server is checked, and what is shown to it. */
export interface RemoteTrust {
  /** PEM certificates that the server's is checked against, instead of the system's. */
  readonly ca?: string | undefined
  /** PEM key and certificate chain of this client. */
  readonly identity?: { readonly key: string; readonly certificate: string } | undefined
}

/** Where an attestation service is, and what this side shows of itself. */
export interface RemoteAddress extends RemoteTrust {
  /** `http://host:port` or `https://host:port`. */
  readonly url: URL
  /** Calls `take` whenever they have changed; answers how to stop that. */
  readonly renewals?: ((take: (trust: RemoteTrust) => void) => () => void) | undefined
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
      // Nothing but a token comes of an evaluation. A write is not sent again: whoever wrote may have given up meanwhile,
      // and have written something else through another replica, which the second sending would undo.
      name: [
        { service: serviceNames.attestation, method: 'AttestationEvaluate' },
        { service: serviceNames.referenceValues, method: 'QueryReferenceValue' },
      ],
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
 * whether its peer is still there, so that a call does not find out (spec 01 §11.5, 44); a lost one is made again. After
 * a call that was not answered in time, the next takes a new connection: where several servers are behind one address,
 * that leads to another than the one that is silent.
 * @param messageLimit of what may be received, in bytes.
 */
export function openConnections(
  address: RemoteAddress,
  { maxConnections, messageLimit }: { readonly maxConnections: number; readonly messageLimit: number },
): Connections {
  const { url } = address
  let credentials = credentialsFor(url, address)
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
  let clients: Connection[] = []

  const leastBusy = () => {
    const [first, ...others] = clients
    const least = first && others.reduce((a, b) => (b.calls < a.calls ? b : a), first)
    if (least !== undefined && (least.calls < callsPerConnection || clients.length >= maxConnections))
      return least
    const opened: Connection = { client: new Client(target, credentials, options), calls: 0, retired: false }
    clients.push(opened)
    return opened
  }
  const retire = (connection: Connection) => {
    connection.retired = true
    clients = clients.filter((other) => other !== connection)
  }
  /** From the next call on; calls under way end as they began. */
  const renew = (trust: RemoteTrust) => {
    credentials = credentialsFor(url, trust)
    for (const connection of clients) {
      retire(connection)
      if (connection.calls === 0) connection.client.close()
    }
  }
  const stopRenewals = address.renewals?.(renew)
  return {
    async call(method, request, { metadata, deadline }) {
      const connection = leastBusy()
      connection.calls++
      try {
        return await unaryCall(connection.client, method, request, { metadata, deadline })
      } catch (error) {
        // a health check has little time: a machine that is busy for so long is not silent
        if (isLate(error) && method.path !== healthCheck) retire(connection)
        throw error
      } finally {
        connection.calls--
        if (connection.calls === 0 && connection.retired) connection.client.close()
      }
    },
    close() {
      stopRenewals?.()
      for (const { client } of clients.splice(0)) client.close()
    },
  }
}

interface Connection {
  readonly client: Client
  /** Under way. */
  calls: number
  /** To be closed with its last call. */
  retired: boolean
}

const healthCheck = healthServiceDefinition.Check?.path

function isLate(error: unknown): boolean {
  return Reflect.get(Object(error), 'code') === status.DEADLINE_EXCEEDED
}

function unaryCall<Request, Response>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Request, Response>,
  request: Request,
  { metadata, deadline }: { readonly metadata: Metadata; readonly deadline: number },
): Promise<Response> {
  return new Promise((resolve, reject) => {
    let sentBytes = 0
    const done = (error: ServiceError | null, response?: Response) => {
      if (error === null && response !== undefined) resolve(response)
      else if (error !== null) reject(isAboutAnswer(error, sentBytes) ? answerTooLarge(error) : error)
      else reject(new Error('the response has no message'))
    }
    client.makeUnaryRequest(
      path,
      (message: Request) => {
        const bytes = requestSerialize(message)
        sentBytes = bytes.length
        return bytes
      },
      responseDeserialize,
      request,
      metadata,
      { deadline },
      done,
    )
  })
}

/**
 * Both sides refuse messages over their limit in the same words. A message of another size than ours is the answer, or
 * what was taken for the head of one: a page of a proxy, say.
 */
function isAboutAnswer({ code, details }: ServiceError, sentBytes: number): boolean {
  const size = /^Received message larger than max \((\d+) vs \d{3,}/.exec(details)?.[1]
  return code === status.RESOURCE_EXHAUSTED && size !== undefined && Number(size) !== sentBytes
}

function answerTooLarge(cause: ServiceError): ServiceError {
  const details = 'what was answered is too large for an answer, or none'
  return Object.assign(new Error(details, { cause }), {
    code: status.INTERNAL,
    details,
    metadata: cause.metadata,
  })
}

function credentialsFor(url: URL, { ca, identity }: RemoteTrust): ChannelCredentials {
  if (url.protocol === 'http:') return ChannelCredentials.createInsecure()
  const buffer = (pem: string | undefined) => (pem === undefined ? null : Buffer.from(pem))
  return ChannelCredentials.createSsl(buffer(ca), buffer(identity?.key), buffer(identity?.certificate))
}
