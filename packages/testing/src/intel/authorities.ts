import { randomBytes } from 'node:crypto'
import { type CertificateFields, type Identity, makeCertificate } from './certificate.ts'
import { type PckFields, pckExtension } from './pck-extension.ts'

/** The certification authorities of one virtual Intel. */
export interface IntelAuthorities {
  readonly root: Identity
  readonly platform: Identity
  readonly processor: Identity
  readonly tcbSigner: Identity
  /** The time around which everything is valid. */
  readonly now: Date
}

const day = 86_400_000

/** Certificates begin years before `now` and end years behind it. */
export function makeAuthorities(now: Date): IntelAuthorities {
  const span = { notBefore: after(now, -1000), notAfter: after(now, 3000) }
  const root = makeCertificate({ commonName: 'Intel SGX Root CA', ca: true, ...span })
  const ca = (commonName: string) => makeCertificate({ commonName, ca: true, issuer: root, ...span })
  return {
    now,
    root,
    platform: ca('Intel SGX PCK Platform CA'),
    processor: ca('Intel SGX PCK Processor CA'),
    tcbSigner: makeCertificate({ commonName: 'Intel SGX TCB Signing', ca: false, issuer: root, ...span }),
  }
}

/** `days` after `date`, in whole seconds as certificates have them. */
export function after(date: Date, days: number): Date {
  return new Date(Math.floor((date.getTime() + days * day) / 1000) * 1000)
}

/** PCK members of a platform that is up to date under the default collateral. */
export function defaultPck(ca: 'platform' | 'processor', fmspc: Uint8Array): PckFields {
  return {
    ppid: randomBytes(16),
    components: [5, 5, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
    pceSvn: 13,
    cpuSvn: new Uint8Array(16).fill(0xff),
    pceId: Uint8Array.of(0, 0),
    fmspc,
    ...(ca === 'processor'
      ? { sgxType: 0 }
      : {
          sgxType: 1,
          platform: { instanceId: randomBytes(16), dynamic: true, cachedKeys: true, smt: false },
        }),
  }
}

/** A PCK certificate that is valid around `authorities.now`. `change` replaces single fields of it. */
export function issuePck(
  authorities: IntelAuthorities,
  ca: 'platform' | 'processor',
  fields: PckFields,
  change: Partial<CertificateFields> = {},
): Identity {
  return makeCertificate({
    commonName: 'Intel SGX PCK Certificate',
    ca: false,
    issuer: authorities[ca],
    notBefore: after(authorities.now, -100),
    notAfter: after(authorities.now, 2000),
    extensions: [pckExtension(fields)],
    ...change,
  })
}
