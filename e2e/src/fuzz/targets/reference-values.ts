/** Reference values as administrators register them: RVPS messages, SWID tags, CoRIMs, signatures around them. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { ReferenceValueError } from '@passport-kbs/attestation-service'
import { JsonSyntaxError, parseJson } from '@passport-kbs/protocol'
import { readCorim } from '../../../../packages/attestation-service/src/reference-values/corim.ts'
import { dssePayloadType } from '../../../../packages/attestation-service/src/reference-values/dsse.ts'
import { readReferenceValueMessage } from '../../../../packages/attestation-service/src/reference-values/message.ts'
import { readSwid } from '../../../../packages/attestation-service/src/reference-values/swid.ts'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, readWithAll } from './seeds.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const signed = { keys: [publicKey], requireSigned: true }
const anybody = { keys: [], requireSigned: false }

/** Three measurements under a class, by UUID, text and number, with validity (draft-ietf-rats-corim). */
const corim = [
  'd901f5a30065636f72696d0182d901fa585ca201a1006374616704a1008182a100a2016441434d450262525283a200d8',
  '255031fb5abf023e4992aa4e95f9c1503bfa01a10281820142aabba200616201a304d902304201020b62424c086153a2',
  '000701a10282820741cc820141ddd901f941a004a200c11a6553f10001c11a713fb300',
].join('')

/** The same in a COSE_Sign1 with a signature that does not hold. */
const signedCorim = [
  'd28443a10126a05883d901f5a30065636f72696d0182d901fa585ca201a1006374616704a1008182a100a2016441434d',
  '450262525283a200d8255031fb5abf023e4992aa4e95f9c1503bfa01a10281820142aabba200616201a304d902304201',
  '020b62424c086153a2000701a10282820741cc820141ddd901f941a004a200c11a6553f10001c11a713fb30058400101',
  '010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101',
  '0101010101010101010101010101',
].join('')

const swid = `<?xml version="1.0"?>
<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
  xmlns:r="https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/"
  xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384">
  <Meta edition="GPU" r:PlatformManufacturerStr="Some &amp; Maker"/><!-- c --><![CDATA[x]]>
  <Payload><Resource type="Measurement" index="1" h:Hash0="aabb" h:Hash1="0000" h:Hash2="&#x63;c"/></Payload>
</SoftwareIdentity>`

const base64 = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('base64')
const message = (type: string, payload: Uint8Array | string) => {
  return { version: '0.1.0', type, payload: base64(payload), expiration: '2027-01-01T00:00:00Z' }
}

function dsse(): object {
  const body = JSON.stringify(message('sample', '{"a":[1,"b"]}'))
  const text = `DSSEv1 ${dssePayloadType.length} ${dssePayloadType} ${body.length} ${body}`
  const signature = sign('sha256', Buffer.from(text), privateKey)
  const signatures = [{ keyid: 'one', sig: base64(signature) }]
  return message('dsse', JSON.stringify({ payloadType: dssePayloadType, payload: base64(body), signatures }))
}

/** A message as JSON, or a SWID tag, or a CoRIM. */
export const referenceValues: FuzzTarget = {
  name: 'reference-values',
  rejections: [JsonSyntaxError, ReferenceValueError],
  seeds: () => [
    ...jsonSeeds([
      message('sample', '{"a":1}'),
      message('swid', swid),
      message('corim', Buffer.from(corim, 'hex')),
      dsse(),
    ]),
    Buffer.from(swid),
    Buffer.from(corim, 'hex'),
    Buffer.from(signedCorim, 'hex'),
  ],
  run(input) {
    readWithAll(
      [ReferenceValueError],
      () => readSwid(input),
      () => readCorim(input, anybody),
      () => readCorim(input, signed),
    )
    const body = parseJson(input)
    readWithAll(
      [ReferenceValueError],
      () => readReferenceValueMessage(body, anybody),
      () => readReferenceValueMessage(body, signed),
    )
  },
}
