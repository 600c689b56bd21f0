import type { ServedCollateral } from './collateral.ts'

/** Collateral of one platform for an offline file. */
export interface ToolFilePlatform {
  readonly tee: 'tdx' | 'sgx'
  /** 12 hex digits. */
  readonly fmspc: string
  readonly collateral: ServedCollateral
  /** Names the documents `…_early`. */
  readonly early?: boolean
}

/**
 * A file as Intel's PcsClientTool writes it (spec 04 §5.6), for platforms with the Platform CA.
 * @param indent pretty-prints it; what Intel signed stays valid only for those who drop the white space again
 */
export function pcsToolFile(platforms: readonly ToolFilePlatform[], indent?: number): Uint8Array {
  const tcbinfos = platforms.map(({ tee, fmspc, collateral, early }) => ({
    fmspc: fmspc.toUpperCase(),
    [`${tee}_tcbinfo${early === true ? '_early' : ''}`]: parsed(collateral.tcbInfo.body),
  }))
  const identities = platforms.map(({ tee, collateral, early }) => [
    `${tee === 'tdx' ? 'td' : ''}qeidentity${early === true ? '_early' : ''}`,
    parsed(collateral.qeIdentity.body),
  ])
  const { tcbInfo, qeIdentity, pckCrl, rootCaCrl } = platforms[0]?.collateral ?? {}
  const collaterals = {
    version: '3.1',
    tcbinfos,
    ...Object.fromEntries(identities),
    pckcacrl: { processorCrl: '', platformCrl: hex(pckCrl?.body) },
    certificates: {
      'SGX-PCK-Certificate-Issuer-Chain': {
        PROCESSOR: '',
        PLATFORM: encodeURIComponent(pckCrl?.issuerChain ?? ''),
      },
      'TCB-Info-Issuer-Chain': encodeURIComponent(tcbInfo?.issuerChain ?? ''),
      'SGX-Enclave-Identity-Issuer-Chain': encodeURIComponent(qeIdentity?.issuerChain ?? ''),
    },
    rootcacrl: hex(rootCaCrl?.body),
  }
  return Buffer.from(JSON.stringify({ platforms: [], collaterals }, null, indent))
}

function parsed(body: Uint8Array): unknown {
  return JSON.parse(Buffer.from(body).toString('utf8'))
}

function hex(body: Uint8Array | undefined): string {
  return Buffer.from(body ?? []).toString('hex')
}
