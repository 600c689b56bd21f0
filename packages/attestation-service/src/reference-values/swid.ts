import { decodeUtf8, type JsonValue } from '@passport-kbs/protocol'
import { SaxesParser, type SaxesTagNS } from 'saxes'
import { ReferenceValueError } from '../attestation-service.ts'

const swidNamespace = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd'
const rimNamespace =
  'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/'
const hashNamespace = 'http://www.w3.org/2001/04/xmlenc#sha384'

/** Hashes of one measurement; firmware has a handful of alternatives. */
const maxHashes = 64

interface SwidTag {
  manufacturer: string | undefined
  edition: string | undefined
  hasMeta: boolean
  readonly measurements: { readonly index: string; readonly hashes: readonly string[] }[]
}

/**
 * Reads a SWID tag with TCG's reference-integrity bindings (ISO 19770-2:2015; spec 02 §6.2): the hashes of each
 * measurement of the first `Payload`, named `<manufacturer>.<edition>.measurement_<index>`. Hashes of zeros mean that
 * there is none. A document type declaration is refused, so entities are XML's own five.
 * @throws ReferenceValueError
 */
export function readSwid(bytes: Uint8Array): ReadonlyMap<string, JsonValue> {
  const { hasMeta, manufacturer, edition, measurements } = parse(bytes)
  if (!hasMeta) throw refused('has no Meta element')
  if (manufacturer === undefined) throw refused('has a Meta element without PlatformManufacturerStr')
  if (edition === undefined) throw refused('has a Meta element without edition')
  const prefix = `${manufacturer.replaceAll(' ', '_')}.${edition}`
  const values = new Map<string, JsonValue>()
  for (const { index, hashes } of measurements) {
    const present = hashes.filter((hash) => !/^0+$/.test(hash))
    if (present.length === 0) continue
    const name = `${prefix}.measurement_${index}`.replaceAll('-', '_')
    if (values.has(name)) throw refused(`has the measurement ${JSON.stringify(index)} twice`)
    values.set(name, present)
  }
  return values
}

function parse(bytes: Uint8Array): SwidTag {
  const tag: SwidTag = { hasMeta: false, manufacturer: undefined, edition: undefined, measurements: [] }
  let payload: 'none' | 'open' | 'read' = 'none'
  const parser = new SaxesParser({ xmlns: true })
  parser.on('error', (cause) => {
    throw refused('is not well-formed XML', cause)
  })
  parser.on('doctype', () => {
    throw refused('has a document type declaration')
  })
  parser.on('opentag', (element) => {
    if (element.uri !== swidNamespace) return
    if (element.local === 'Meta' && !tag.hasMeta) {
      tag.hasMeta = true
      tag.manufacturer = attribute(element, rimNamespace, 'PlatformManufacturerStr')
      tag.edition = attribute(element, '', 'edition')
    } else if (element.local === 'Payload' && payload === 'none') payload = 'open'
    else if (element.local === 'Resource' && payload === 'open') addMeasurement(tag, element)
  })
  parser.on('closetag', ({ uri, local }) => {
    if (uri === swidNamespace && local === 'Payload' && payload === 'open') payload = 'read'
  })
  try {
    parser.write(decodeUtf8(bytes)).close()
  } catch (cause) {
    throw cause instanceof ReferenceValueError ? cause : refused('is not UTF-8', cause)
  }
  if (payload === 'none') throw refused('has no Payload element')
  return tag
}

function addMeasurement(tag: SwidTag, element: SaxesTagNS): void {
  if (attribute(element, '', 'type') !== 'Measurement') return
  const index = attribute(element, '', 'index')
  if (index === undefined) throw refused('has a measurement without index')
  const hashes: string[] = []
  for (;;) {
    const hash = attribute(element, hashNamespace, `Hash${hashes.length}`)
    if (hash === undefined) break
    if (!/^[0-9A-Fa-f]+$/.test(hash)) throw refused('has a hash that is not hexadecimal')
    if (hashes.push(hash) > maxHashes) throw refused(`has a measurement with more than ${maxHashes} hashes`)
  }
  tag.measurements.push({ index, hashes })
}

function attribute({ attributes }: SaxesTagNS, uri: string, local: string): string | undefined {
  return Object.values(attributes).find((each) => each.uri === uri && each.local === local)?.value
}

function refused(what: string, cause?: unknown): ReferenceValueError {
  return new ReferenceValueError(`the SWID tag ${what}`, cause === undefined ? {} : { cause })
}
