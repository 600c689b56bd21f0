import { decodeHex, encodeUtf8, parseJson } from '@passport-kbs/protocol'
import type { CollateralDocument } from './collateral.ts'
import { type CollateralKey, type TcbUpdateType, UpstreamError } from './collateral-key.ts'
import { childSlices } from './json-slices.ts'

/** Largest file that is read, in bytes; it can hold the TCB info of every platform there is. */
export const maxToolFileBytes = 16 * 1024 * 1024

/** The documents of an offline file; the same object again for the same key. */
export interface ToolFileDocuments {
  /** @throws UpstreamError `absent` or `unusable` */
  document(key: CollateralKey): CollateralDocument
}

/**
 * Reads a file as Intel's PcsClientTool writes it (spec 04 §5.6). Documents are cut out of its raw text, so that what Intel
 * signed stays as it is; nothing is verified here.
 * @throws JsonSyntaxError, or TypeError without the member `collaterals`
 */
export function parsePcsToolFile(bytes: Uint8Array, update: TcbUpdateType): ToolFileDocuments {
  parseJson(bytes, { maxBytes: maxToolFileBytes })
  const collaterals = childSlices(Buffer.from(bytes).toString('utf8')).get('collaterals')
  if (collaterals === undefined) throw new TypeError('the file has no member collaterals')
  const file = new ToolFile(childSlices(collaterals), update)
  return { document: (key) => file.document(key) }
}

class ToolFile implements ToolFileDocuments {
  readonly #members: ReadonlyMap<string, string>
  readonly #update: TcbUpdateType
  readonly #documents = new Map<string, CollateralDocument>()

  constructor(members: ReadonlyMap<string, string>, update: TcbUpdateType) {
    this.#members = members
    this.#update = update
  }

  document(key: CollateralKey): CollateralDocument {
    const name = JSON.stringify(key)
    const document = this.#documents.get(name) ?? this.#read(key)
    this.#documents.set(name, document)
    return document
  }

  #read(key: CollateralKey): CollateralDocument {
    switch (key.kind) {
      case 'tcb-info':
        return this.#signed(this.#platform(key.fmspc), `${key.tee}_tcbinfo`, 'TCB-Info-Issuer-Chain')
      case 'qe-identity': {
        const name = key.tee === 'tdx' ? 'tdqeidentity' : 'qeidentity'
        return this.#signed(this.#members, name, 'SGX-Enclave-Identity-Issuer-Chain')
      }
      case 'pck-crl': {
        const chains = childSlices(this.#certificates().get('SGX-PCK-Certificate-Issuer-Chain') ?? '')
        const chain = chains.get(key.ca.toUpperCase())
        const crl = text(childSlices(this.#members.get('pckcacrl') ?? '').get(`${key.ca}Crl`), `${key.ca}Crl`)
        const body = hexBody(crl)
        return chain === undefined ? { body } : { body, issuerChain: percentDecoded(chain) }
      }
      case 'root-ca-crl':
        return { body: hexBody(text(this.#members.get('rootcacrl'), 'rootcacrl')) }
    }
  }

  #platform(fmspc: string): ReadonlyMap<string, string> {
    for (const entry of childSlices(this.#members.get('tcbinfos') ?? '').values()) {
      const members = childSlices(entry)
      if (text(members.get('fmspc'), 'fmspc').toLowerCase() === fmspc) return members
    }
    throw new UpstreamError('absent', `the offline file has no TCB info of ${fmspc}`)
  }

  #signed(members: ReadonlyMap<string, string>, name: string, header: string): CollateralDocument {
    const early = this.#update === 'early' ? members.get(`${name}_early`) : undefined
    const slice = early ?? members.get(name)
    if (slice === undefined) throw new UpstreamError('absent', `the offline file has no ${name}`)
    // older editions of the tool wrote the document as a JSON string
    const body = encodeUtf8(slice.startsWith('"') ? text(slice, name) : slice)
    return { body, issuerChain: percentDecoded(this.#certificates().get(header)) }
  }

  #certificates(): ReadonlyMap<string, string> {
    return childSlices(this.#members.get('certificates') ?? '')
  }
}

function text(slice: string | undefined, name: string): string {
  if (slice === undefined) throw new UpstreamError('absent', `the offline file has no ${name}`)
  const value: unknown = JSON.parse(slice)
  if (typeof value !== 'string')
    throw new UpstreamError('unusable', `${name} in the offline file is not a text`)
  return value
}

function hexBody(hex: string): Uint8Array {
  try {
    return decodeHex(hex)
  } catch (cause) {
    throw new UpstreamError('unusable', 'a CRL in the offline file is not hexadecimal', { cause })
  }
}

function percentDecoded(slice: string | undefined): string {
  try {
    return decodeURIComponent(text(slice, 'issuer chain'))
  } catch (cause) {
    if (cause instanceof UpstreamError) throw cause
    throw new UpstreamError('unusable', 'an issuer chain in the offline file is not percent-encoded', {
      cause,
    })
  }
}
