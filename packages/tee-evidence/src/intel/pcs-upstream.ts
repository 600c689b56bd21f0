import {
  type CollateralKey,
  type CollateralUpstream,
  type TcbUpdateType,
  UpstreamError,
} from './collateral-key.ts'
import { maxCollateralBytes } from './signed-json.ts'

export interface PcsUpstreamOptions {
  /** Intel's PCS or a PCCS; only scheme, host and port count, as in Trustee. */
  readonly url: string
  readonly update: TcbUpdateType
  /** The client; it decides about proxies and about CAs besides the public ones, and must verify TLS. */
  readonly fetch: typeof globalThis.fetch
}

const intelHost = 'api.trustedservices.intel.com'
/** A constant on purpose: Trustee follows the address inside a certificate that nobody has verified yet. */
const intelRootCrl = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'
const maxIssuerChainLength = 16 * 1024
const longestPauseMs = 3_600_000

interface Request {
  readonly url: string
  /** Response header with the issuer chain, and whether the document is of no use without. */
  readonly chain?: { readonly header: string; readonly required: boolean }
}

/**
 * A client of the Provisioning Certification Service API, version 4 (spec 04 §5.1).
 * @throws TypeError when `url` is not an http or https address: a mistake of the operator
 */
export function pcsUpstream({ url, update, fetch }: PcsUpstreamOptions): CollateralUpstream {
  const base = new URL(url)
  if (base.protocol !== 'https:' && base.protocol !== 'http:')
    throw new TypeError(`not an http address: ${base.protocol}`)
  return {
    name: base.origin,
    async fetch(key, timeoutMs) {
      const request = requestFor(key, base, update)
      try {
        const response = await fetch(request.url, {
          redirect: 'error',
          signal: AbortSignal.timeout(timeoutMs),
        })
        requireOk(response, base.host)
        const issuerChain = issuerChainOf(response, request, base.host)
        const body = await limitedBody(response, base.host)
        return issuerChain === undefined ? { body } : { body, issuerChain }
      } catch (cause) {
        if (cause instanceof UpstreamError) throw cause
        throw new UpstreamError('unreachable', `${base.host}: ${reasonOf(cause)}`, { cause })
      }
    },
  }
}

function requestFor(key: CollateralKey, base: URL, update: TcbUpdateType): Request {
  const address = (path: string) => new URL(path, base.origin).href
  switch (key.kind) {
    case 'tcb-info':
      return {
        url: address(`${key.tee}/certification/v4/tcb?fmspc=${key.fmspc.toUpperCase()}&update=${update}`),
        chain: { header: 'TCB-Info-Issuer-Chain', required: true },
      }
    case 'qe-identity':
      return {
        url: address(`${key.tee}/certification/v4/qe/identity?update=${update}`),
        chain: { header: 'SGX-Enclave-Identity-Issuer-Chain', required: true },
      }
    case 'pck-crl':
      return {
        url: address(`sgx/certification/v4/pckcrl?ca=${key.ca}&encoding=der`),
        chain: { header: 'SGX-PCK-CRL-Issuer-Chain', required: false },
      }
    case 'root-ca-crl':
      return { url: base.hostname === intelHost ? intelRootCrl : address('sgx/certification/v4/rootcacrl') }
  }
}

function requireOk(response: Response, host: string): void {
  if (response.status === 200) return
  // the body will not be read; without this the connection would stay taken
  response.body?.cancel().catch(() => undefined)
  const message = `${host} answers with status ${response.status}`
  if (response.status === 404 || response.status === 410) throw new UpstreamError('absent', message)
  if (response.status === 429 || response.status === 503) {
    throw new UpstreamError('busy', message, { retryAfterMs: retryAfterMs(response) })
  }
  throw new UpstreamError('unusable', message)
}

/** Seconds or an HTTP date (RFC 9110 §10.2.3); a minute when absent or unreadable, an hour at most. */
function retryAfterMs(response: Response): number {
  const value = response.headers.get('Retry-After')?.trim() ?? ''
  const date = Date.parse(response.headers.get('Date') ?? '')
  const pause = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - date
  return Number.isFinite(pause) && pause >= 0 ? Math.min(pause, longestPauseMs) : 60_000
}

function issuerChainOf(response: Response, { chain }: Request, host: string): string | undefined {
  if (chain === undefined) return undefined
  const value = response.headers.get(chain.header)
  if (value === null) {
    if (!chain.required) return undefined
    throw new UpstreamError('unusable', `${host} answers without ${chain.header}`)
  }
  if (value.length > maxIssuerChainLength)
    throw new UpstreamError('unusable', `${host}: ${chain.header} too long`)
  try {
    return decodeURIComponent(value)
  } catch (cause) {
    throw new UpstreamError('unusable', `${host}: ${chain.header} is not percent-encoded`, { cause })
  }
}

async function limitedBody(response: Response, host: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  // leaving the loop early cancels the stream, and with it the transfer
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > maxCollateralBytes) {
      throw new UpstreamError('unusable', `${host} sends more than ${maxCollateralBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'no complete answer in time'
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined
  return code ?? (cause instanceof Error ? cause.message : 'the request failed')
}
