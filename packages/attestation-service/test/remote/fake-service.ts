import { createServer, type Server as TcpServer } from 'node:net'
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import {
  encodeBase64Url,
  encodeUtf8,
  type JsonObject,
  jsonObject,
  stringifyJson,
} from '@passport-kbs/protocol'
import { onTestFinished } from 'vitest'
import { createTokenSigner, type TokenSigner } from '../../src/index.ts'
import {
  type AttestationRequest,
  type AttestationResponse,
  attestationServiceDefinition,
  healthServiceDefinition,
  referenceValueServiceDefinition,
} from '../../src/remote/index.ts'

/** An attestation service on loopback that does what a test tells it. */
export interface FakeService {
  readonly url: URL
  readonly signer: TokenSigner
  /** Requests to evaluate so far, with the metadata they came with. */
  readonly evaluations: { readonly request: AttestationRequest; readonly metadata: Metadata }[]
  /** Paths called so far. */
  readonly calls: string[]
  stop(): void
}

/** Requests of any message. */
export type Method = handleUnaryCall<object, object>

export interface FakeServiceOptions {
  /** Instead of a token for the request. */
  readonly evaluate?: (
    request: AttestationRequest,
    signer: TokenSigner,
  ) => Promise<AttestationResponse | { code: status; details: string; metadata?: Metadata } | undefined>
  readonly methods?: Record<string, Method>
  readonly health?: 'SERVING' | 'NOT_SERVING' | 'none'
  readonly credentials?: ServerCredentials
  readonly port?: number
  readonly maxMessage?: number
}

const refuses: Method = (_call, callback) => callback({ code: status.ABORTED, details: 'refused' })

export async function startFakeService(options: FakeServiceOptions = {}): Promise<FakeService> {
  const signer = await createTokenSigner()
  const evaluations: FakeService['evaluations'] = []
  const calls: string[] = []
  const server = new Server(
    options.maxMessage === undefined ? {} : { 'grpc.max_receive_message_length': options.maxMessage },
  )
  const evaluate = async (
    call: ServerUnaryCall<AttestationRequest, AttestationResponse>,
    callback: sendUnaryData<AttestationResponse>,
  ) => {
    calls.push(call.getPath())
    evaluations.push({ request: call.request, metadata: call.metadata })
    const make = options.evaluate ?? answerToken
    const answer = await make(call.request, signer)
    if (answer === undefined) return
    if ('code' in answer) callback(answer)
    else callback(null, answer)
  }
  const method =
    (name: string): Method =>
    (call, callback) => {
      calls.push(call.getPath())
      ;(options.methods?.[name] ?? refuses)(call, callback)
    }
  server.addService(attestationServiceDefinition, {
    AttestationEvaluate: evaluate,
    SetAttestationPolicy: method('SetAttestationPolicy'),
    GetAttestationChallenge: method('GetAttestationChallenge'),
  })
  server.addService(referenceValueServiceDefinition, {
    QueryReferenceValue: method('QueryReferenceValue'),
    RegisterReferenceValue: method('RegisterReferenceValue'),
  })
  if (options.health !== 'none') {
    server.addService(healthServiceDefinition, {
      Check: (_: unknown, callback: sendUnaryData<object>) =>
        callback(null, { status: options.health ?? 'SERVING' }),
      Watch: () => {},
    })
  }
  const credentials = options.credentials ?? ServerCredentials.createInsecure()
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${options.port ?? 0}`, credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  onTestFinished(() => server.forceShutdown())
  const scheme = options.credentials === undefined ? 'http' : 'https'
  return {
    url: new URL(`${scheme}://127.0.0.1:${port}`),
    signer,
    evaluations,
    calls,
    stop: () => server.forceShutdown(),
  }
}

/** A token about the request, as an AS mints it. */
export async function answerToken(
  { verification_requests: [first] }: AttestationRequest,
  signer: TokenSigner,
  claims: JsonObject = jsonObject({}),
): Promise<AttestationResponse> {
  const runtimeData = JSON.parse(first?.structured_runtime_data ?? 'null') as JsonObject
  const evidence = jsonObject({ sample: jsonObject({ svn: '1' }), runtime_data_claims: runtimeData })
  const submod = jsonObject({
    'ear.status': 'affirming',
    'ear.appraisal-policy-id': 'default',
    'ear.veraison.annotated-evidence': evidence,
  })
  const payload = {
    iss: 'CoCo-Attestation-Service',
    exp: Math.floor(Date.now() / 1000) + 300,
    submods: jsonObject({ cpu0: submod }),
    ...claims,
  }
  return { attestation_token: await signer.sign(jsonObject(payload)) }
}

/** A token whose signature is not one. */
export function unsignedToken(payload: JsonObject): string {
  const part = (value: JsonObject) => encodeBase64Url(encodeUtf8(stringifyJson(value)))
  return `${part(jsonObject({ alg: 'none' }))}.${part(payload)}.AAAA`
}

export const rejectionMetadata = (code: string, check: string): Metadata => {
  const metadata = new Metadata()
  metadata.set('attestation-rejection', code)
  metadata.set('attestation-check', check)
  return metadata
}

/** A port on which nothing listens, or something that takes connections and never answers. */
export async function silentPort(): Promise<{ readonly port: number; readonly server: TcpServer }> {
  const server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, server }
}
