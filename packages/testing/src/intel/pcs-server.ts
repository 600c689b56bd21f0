import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import type { ServedCollateral, ServedDocument } from './collateral.ts'

/** What the server can do instead of answering. */
export type PcsFailure =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string }
  /** Accepts the connection and never answers. */
  | { readonly kind: 'silent' }
  /** Sends a byte now and then, and never ends. */
  | { readonly kind: 'slow' }
  /** Closes the connection in the middle of the body. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'oversize'; readonly bytes: number }
  | { readonly kind: 'redirect'; readonly to: string }
  | { readonly kind: 'html' }
  | { readonly kind: 'no-chain-header' }
  | { readonly kind: 'broken-chain-header' }

export interface PcsServerOptions {
  /** How CRLs are served: Intel's PCS gives DER, a PCCS hexadecimal text. */
  readonly crlEncoding?: 'der' | 'hex'
}

/** A PCS or PCCS on a port of this machine. */
export interface VirtualPcs {
  /** `http://127.0.0.1:port`. */
  readonly url: string
  /** Paths with query of all requests so far, in order; a test may empty it. */
  readonly requests: string[]
  /** What a platform gets from now on; a TEE and FMSPC without any get 404. */
  serve(tee: 'tdx' | 'sgx', fmspc: string, ca: 'platform' | 'processor', collateral: ServedCollateral): void
  /** Fails from now on, for paths that contain `where`; undefined ends it. */
  fail(failure: PcsFailure | undefined, where?: string): void
  close(): Promise<void>
}

/** Starts a real HTTP server on a free port of 127.0.0.1. */
export async function startVirtualPcs({ crlEncoding = 'der' }: PcsServerOptions = {}): Promise<VirtualPcs> {
  const documents = new Map<string, ServedDocument>()
  const requests: string[] = []
  let failing: { failure: PcsFailure; where: string } | undefined
  const app = new Hono<{ Bindings: HttpBindings }>()
  app.get('*', async (c) => {
    const { pathname, search } = new URL(c.req.url)
    requests.push(pathname + search)
    const failure = failing !== undefined && c.req.url.includes(failing.where) ? failing.failure : undefined
    const document = documents.get(documentPath(c))
    if (failure !== undefined) return failedAnswer(failure, document, () => c.env.incoming.socket.destroy())
    return document === undefined ? c.text('not found', 404) : answer(pathname, document, crlEncoding)
  })
  const server = createServer(getRequestListener(app.fetch))
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    serve(tee, fmspc, ca, { tcbInfo, qeIdentity, pckCrl, rootCaCrl }) {
      documents.set(`/${tee}/certification/v4/tcb ${fmspc.toUpperCase()}`, tcbInfo)
      documents.set(`/${tee}/certification/v4/qe/identity`, qeIdentity)
      documents.set(`/sgx/certification/v4/pckcrl ${ca}`, pckCrl)
      documents.set('/sgx/certification/v4/rootcacrl', rootCaCrl)
    },
    fail(failure, where = '') {
      failing = failure === undefined ? undefined : { failure, where }
    },
    close: () => closed(server, sockets),
  }
}

function documentPath(c: Context): string {
  const query = c.req.query('fmspc') ?? c.req.query('ca')
  return query === undefined ? c.req.path : `${c.req.path} ${query}`
}

const chainHeaders: Readonly<Record<string, string>> = {
  tcb: 'TCB-Info-Issuer-Chain',
  identity: 'SGX-Enclave-Identity-Issuer-Chain',
  pckcrl: 'SGX-PCK-CRL-Issuer-Chain',
}

function answer(path: string, { body, issuerChain }: ServedDocument, crlEncoding: 'der' | 'hex'): Response {
  const isCrl = path.endsWith('crl')
  const header = chainHeaders[path.split('/').at(-1) ?? '']
  const chain =
    header === undefined || issuerChain === undefined ? {} : { [header]: encodeURIComponent(issuerChain) }
  const content =
    isCrl && crlEncoding === 'hex' ? Buffer.from(Buffer.from(body).toString('hex')) : Buffer.from(body)
  const type = isCrl ? 'application/pkix-crl' : 'application/json'
  return new Response(content, { headers: { 'Content-Type': type, ...chain } })
}

function failedAnswer(
  failure: PcsFailure,
  document: ServedDocument | undefined,
  hangUp: () => void,
): Response | Promise<Response> {
  const body = Buffer.from(document?.body ?? new Uint8Array())
  const chain = { 'TCB-Info-Issuer-Chain': '%zz', 'SGX-Enclave-Identity-Issuer-Chain': '%zz' }
  switch (failure.kind) {
    case 'status': {
      const retry = failure.retryAfter === undefined ? {} : { 'Retry-After': failure.retryAfter }
      return new Response('failed', { status: failure.status, headers: retry })
    }
    case 'silent':
      return new Promise(() => undefined)
    case 'slow':
      return new Response(
        stream(() => new Promise((resolve) => setTimeout(() => resolve(Buffer.from(' ')), 20))),
      )
    case 'reset':
      return new Response(
        stream(async (count) => {
          if (count === 0) return body.subarray(0, 10)
          hangUp()
          return undefined
        }),
        { headers: { 'Content-Length': String(body.length) } },
      )
    case 'oversize':
      return new Response(
        stream(async (count) => (count * 65_536 < failure.bytes ? Buffer.alloc(65_536, ' ') : undefined)),
      )
    case 'redirect':
      return new Response(null, { status: 302, headers: { Location: failure.to } })
    case 'html':
      return new Response('<html>Please log in</html>', { headers: { 'Content-Type': 'text/html' } })
    case 'no-chain-header':
      return new Response(body)
    case 'broken-chain-header':
      return new Response(body, { headers: chain })
  }
}

function stream(next: (count: number) => Promise<Uint8Array | undefined>): ReadableStream<Uint8Array> {
  let count = 0
  return new ReadableStream({
    async pull(controller) {
      const chunk = await next(count)
      count += 1
      if (chunk === undefined) controller.close()
      else controller.enqueue(chunk)
    },
  })
}

function closed(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of sockets) socket.destroy()
  })
}
