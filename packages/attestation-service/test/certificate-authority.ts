import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'

/** Just enough X.509 to certify a signing key in tests: version 3, one common name, no extensions but basicConstraints. */
export interface TestCertificate {
  readonly pem: string
  readonly name: string
  readonly key: KeyObject
}

/** A certificate for `key`, signed by `issuer`, or by itself. */
export function certificate(
  name: string,
  key: KeyObject,
  options: { issuer?: TestCertificate; notBefore?: Date; notAfter?: Date; publicKey: KeyObject },
): TestCertificate {
  const { issuer = { name, key }, notBefore = new Date('2026-01-01T00:00:00Z') } = options
  const { notAfter = new Date('2027-01-01T00:00:00Z'), publicKey } = options
  const isRsa = issuer.key.asymmetricKeyType === 'rsa'
  const algorithm = isRsa
    ? sequence(objectId('2a864886f70d01010b'), Buffer.from('0500', 'hex'))
    : sequence(objectId('2a8648ce3d040302'))
  const body = sequence(
    tagged(0xa0, integer(2)),
    integer(Math.floor(notBefore.getTime() / 1000) + name.length),
    algorithm,
    commonName(issuer.name),
    sequence(time(notBefore), time(notAfter)),
    commonName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(
      0xa3,
      sequence(sequence(objectId('551d13'), tagged(0x04, sequence(tagged(0x01, Buffer.from([0xff])))))),
    ),
  )
  const signature = createSign('sha256').update(body).sign(issuer.key)
  const der = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return { pem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`, name, key }
}

/** An RSA root, as Trustee's set-up script makes it. */
export function rootCertificate(name = 'Root'): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return certificate(name, privateKey, { publicKey, notAfter: new Date('2036-01-01T00:00:00Z') })
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, Math.floor(length / 256), length % 256]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

function sequence(...members: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(members))
}

function integer(value: number): Buffer {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return tagged(0x02, (bytes[0] ?? 0) < 128 ? bytes : Buffer.concat([Buffer.from([0]), bytes]))
}

function objectId(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, 'hex'))
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(objectId('550403'), tagged(0x0c, Buffer.from(name)))))
}

function time(date: Date): Buffer {
  return tagged(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`))
}
