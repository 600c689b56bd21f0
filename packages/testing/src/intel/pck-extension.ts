import type { ExtensionDraft } from '../x509/certificate-writer.ts'
import { boolean, integer, octetString, oid, sequence, tlv } from '../x509/der-writer.ts'

/** What the SGX extension of a PCK certificate states (Intel PCK certificate and CRL profile). */
export interface PckFields {
  readonly ppid: Uint8Array
  readonly components: readonly number[]
  readonly pceSvn: number
  readonly cpuSvn: Uint8Array
  readonly pceId: Uint8Array
  readonly fmspc: Uint8Array
  readonly sgxType: number
  /** Of the Platform CA only. */
  readonly platform?:
    | undefined
    | {
        readonly instanceId: Uint8Array
        readonly dynamic: boolean
        readonly cachedKeys: boolean
        readonly smt: boolean
      }
}

const prefix = '1.2.840.113741.1.13.1'

/** @param more further members behind the genuine ones */
export function pckExtension(fields: PckFields, ...more: readonly Uint8Array[]): ExtensionDraft {
  const { components, platform } = fields
  const tcb = [
    ...components.map((svn, index) => pckMember(`2.${index + 1}`, integer(svn))),
    pckMember('2.17', integer(fields.pceSvn)),
    pckMember('2.18', octetString(fields.cpuSvn)),
  ]
  const members = [
    pckMember('1', octetString(fields.ppid)),
    pckMember('2', sequence(...tcb)),
    pckMember('3', octetString(fields.pceId)),
    pckMember('4', octetString(fields.fmspc)),
    pckMember('5', tlv(0x0a, Uint8Array.of(fields.sgxType))),
    ...(platform === undefined ? [] : platformMembers(platform)),
  ]
  return { oid: prefix, value: sequence(...members, ...more) }
}

function platformMembers(platform: NonNullable<PckFields['platform']>): Uint8Array[] {
  const configuration = [platform.dynamic, platform.cachedKeys, platform.smt].map((flag, index) =>
    pckMember(`7.${index + 1}`, boolean(flag)),
  )
  return [pckMember('6', octetString(platform.instanceId)), pckMember('7', sequence(...configuration))]
}

/** One member by the arcs behind Intel's prefix. */
export function pckMember(arcs: string, value: Uint8Array): Uint8Array {
  return sequence(oid(`${prefix}.${arcs}`), value)
}
