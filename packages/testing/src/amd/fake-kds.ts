/** AMD's Key Distribution Service as a real HTTP server that can misbehave (spec 03 §5.2; AMD 57230). */
import { type ServerType, serve } from '@hono/node-server'
import { Hono } from 'hono'
import type { VirtualSnpMachine } from '../snp/virtual-snp-machine.ts'
import { pem } from '../x509/certificate-writer.ts'
import { type VirtualGeneration, virtualCrl } from './authorities.ts'
import type { EndorsementKind } from './endorsement-key.ts'

/** How the server answers instead of correctly. */
export type KdsFailure =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: string }
  | { readonly kind: 'html' }
  | { readonly kind: 'pem' }
  | { readonly kind: 'oversize'; readonly bytes: number }
  | { readonly kind: 'slow-drip'; readonly everyMilliseconds: number }
  | { readonly kind: 'redirect' }
  | { readonly kind: 'other-chip'; readonly certificate: Uint8Array }
  | { readonly kind: 'hang' }

export interface FakeKdsOptions {
  /** The machines whose VCEKs it knows. */
  readonly machines: readonly VirtualSnpMachine[]
}

export interface FakeKds {
  /** `http://127.0.0.1:port`. */
  readonly url: string
  /** Path and query of every request, in order. */
  readonly requests: readonly string[]
  /** Every answer from now on fails this way; undefined ends it. */
  fail(failure: KdsFailure | undefined): void
  /** The CRL to serve, DER. Before the first call there is none: 404. */
  setCrl(generation: VirtualGeneration, kind: EndorsementKind, crl: Uint8Array | undefined): void
  close(): Promise<void>
}

/** Starts the server on a free port. */
export async function startFakeKds({ machines }: FakeKdsOptions): Promise<FakeKds> {
  const state = new KdsState(machines)
  const server = await listening(kdsApp(state))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests: state.requests,
    fail: (failure) => {
      state.failure = failure
    },
    setCrl: (generation, kind, crl) => state.crls.set(`${kind}/${generation}`, crl),
    close: () => closed(server),
  }
}

class KdsState {
  readonly requests: string[] = []
  readonly crls = new Map<string, Uint8Array | undefined>()
  failure: KdsFailure | undefined
  readonly #machines: readonly VirtualSnpMachine[]

  constructor(machines: readonly VirtualSnpMachine[]) {
    this.#machines = machines
  }

  /** The VCEK for a chip and exactly its TCB, as KDS derives it. */
  vcek(generation: string, hwid: string, query: URLSearchParams): Uint8Array | undefined {
    const machine = this.#machines.find(
      (candidate) => candidate.generation === generation && hwidOf(candidate) === hwid,
    )
    if (machine === undefined) return undefined
    const { tcb } = machine
    const wanted = { blSPL: tcb.bootloader, teeSPL: tcb.tee, snpSPL: tcb.snp, ucodeSPL: tcb.microcode }
    const all = generation === 'Turin' ? { fmcSPL: tcb.fmc ?? 0, ...wanted } : wanted
    const same = Object.entries(all).every(([name, value]) => Number(query.get(name) ?? 'NaN') === value)
    return same && query.size === Object.keys(all).length ? machine.endorsementCertificate : undefined
  }
}

function hwidOf({ generation, chipId }: VirtualSnpMachine): string {
  return Buffer.from(generation === 'Turin' ? chipId.subarray(0, 8) : chipId).toString('hex')
}

function der(body: Uint8Array): Response {
  return new Response(Buffer.from(body), { headers: { 'content-type': 'application/x-x509-ca-cert' } })
}

function kdsApp(state: KdsState): Hono {
  const app = new Hono()
  app.use(async (context, next) => {
    const url = new URL(context.req.url)
    state.requests.push(`${url.pathname}${url.search}`)
    if (state.failure !== undefined) return failing(state.failure)
    return next()
  })
  app.get('/:kind{vcek|vlek}/v1/:generation/crl', (context) => {
    const { kind, generation } = context.req.param()
    const crl = state.crls.get(`${kind}/${generation}`)
    return crl === undefined ? context.notFound() : der(crl)
  })
  app.get('/vcek/v1/:generation/:hwid', (context) => {
    const { generation, hwid } = context.req.param()
    const vcek = state.vcek(generation, hwid, new URL(context.req.url).searchParams)
    return vcek === undefined ? context.notFound() : der(vcek)
  })
  return app
}

async function failing(failure: KdsFailure): Promise<Response> {
  switch (failure.kind) {
    case 'status': {
      const { status, retryAfter } = failure
      return new Response('failed', {
        status,
        headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter },
      })
    }
    case 'html':
      return new Response('<html>maintenance</html>', { headers: { 'content-type': 'text/html' } })
    case 'pem':
      return new Response(pem('CERTIFICATE', Buffer.alloc(900, 1)))
    case 'oversize':
      return new Response(Buffer.alloc(failure.bytes, 0x30))
    case 'slow-drip':
      return new Response(drip(failure.everyMilliseconds))
    case 'redirect':
      return new Response(null, { status: 302, headers: { location: '/elsewhere' } })
    case 'other-chip':
      return der(failure.certificate)
    case 'hang':
      return new Promise(() => {})
  }
}

/** One byte at a time, for ever. */
function drip(everyMilliseconds: number): ReadableStream<Uint8Array> {
  let timer: NodeJS.Timeout | undefined
  return new ReadableStream({
    start(controller) {
      timer = setInterval(() => controller.enqueue(Uint8Array.of(0x30)), everyMilliseconds)
    },
    cancel() {
      clearInterval(timer)
    },
  })
}

function listening(app: Hono): Promise<ServerType> {
  return new Promise((resolve) => {
    const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () => resolve(server))
  })
}

function closed(server: ServerType): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
}

/** A CRL that is valid for a month around `now`. */
export function currentCrl(
  generation: VirtualGeneration,
  now: Date,
  revoked: readonly ('ark' | 'ask' | 'asvk')[] = [],
): Uint8Array {
  const day = 24 * 60 * 60 * 1000
  const thisUpdate = new Date(now.getTime() - day)
  return virtualCrl({ generation, thisUpdate, nextUpdate: new Date(now.getTime() + 30 * day), revoked })
}
