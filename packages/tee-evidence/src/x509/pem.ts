import { decodeBase64 } from '@passport-kbs/protocol'
import { DerError } from './der.ts'

const begin = (label: string) => `-----BEGIN ${label}-----`
const end = (label: string) => `-----END ${label}-----`

/**
 * The DER contents of all PEM blocks with `label` (RFC 7468), in order. Text outside the blocks is ignored;
 * a block without an end, or with anything but base64 lines inside, is a `DerError`.
 */
export function decodePemBlocks(text: string, label: string): Uint8Array[] {
  const blocks: Uint8Array[] = []
  let from = text.indexOf(begin(label))
  while (from >= 0) {
    const bodyFrom = from + begin(label).length
    const bodyTo = text.indexOf(end(label), bodyFrom)
    if (bodyTo < 0) throw new DerError(`PEM block ${label} without an end`)
    blocks.push(decodeBody(text.slice(bodyFrom, bodyTo)))
    from = text.indexOf(begin(label), bodyTo)
  }
  return blocks
}

/** The DER content of a text that is exactly one PEM block with `label`; only white space may follow it. */
export function decodeSinglePem(text: string, label: string): Uint8Array {
  if (!text.startsWith(begin(label))) throw new DerError(`no PEM block ${label}`)
  const to = text.indexOf(end(label))
  if (to < 0 || text.slice(to + end(label).length).trim() !== '') {
    throw new DerError(`not exactly one PEM block ${label}`)
  }
  return decodeBody(text.slice(begin(label).length, to))
}

function decodeBody(body: string): Uint8Array {
  try {
    return decodeBase64(body.replace(/[\r\n \t]+/g, ''))
  } catch (cause) {
    throw new DerError('PEM block is not base64', { cause })
  }
}
