/** How VCEKs and CRLs are named: KDS URLs (AMD 57230) and the files of an offline store (spec 03 §4.6, §5.2). */
import type { CrlRequest, VcekRequest } from '../endorsement-source.ts'

export const kdsBaseUrl = 'https://kdsintf.amd.com'
export const offlineStorePath = '/opt/confidential-containers/attestation-service/kds-store'

/** Decimal, at least two digits. */
function padded(value: number | null): string {
  return String(value ?? 0).padStart(2, '0')
}

/** `baseUrl` without a trailing slash. */
export function vcekUrl(baseUrl: string, { generation, hwid, tcb }: VcekRequest): string {
  const fmc = generation === 'Turin' ? `fmcSPL=${padded(tcb.fmc)}&` : ''
  const versions =
    `blSPL=${padded(tcb.bootloader)}&teeSPL=${padded(tcb.tee)}` +
    `&snpSPL=${padded(tcb.snp)}&ucodeSPL=${padded(tcb.microcode)}`
  return `${baseUrl}/vcek/v1/${generation}/${hwid}?${fmc}${versions}`
}

export function crlUrl(baseUrl: string, { generation, kind }: CrlRequest): string {
  return `${baseUrl}/${kind}/v1/${generation}/crl`
}

/** The file for exactly this TCB, relative to the store. */
export function vcekFile({ generation, hwid, tcb }: VcekRequest): string {
  const fmc = generation === 'Turin' ? `_fmc${padded(tcb.fmc)}` : ''
  const versions =
    `bl${padded(tcb.bootloader)}_tee${padded(tcb.tee)}` +
    `_snp${padded(tcb.snp)}_ucode${padded(tcb.microcode)}`
  return `vcek/${hwid}/${versions}${fmc}_vcek.der`
}

/** The file that is taken when there is none for the TCB, relative to the store. */
export function fallbackVcekFile({ hwid }: VcekRequest): string {
  return `vcek/${hwid}/vcek.der`
}

/** Relative to the store. */
export function crlFile({ generation, kind }: CrlRequest): string {
  return `crl/${generation}/${kind}.crl`
}
