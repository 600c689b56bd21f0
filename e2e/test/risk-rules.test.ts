/** docs/risk-rules.md, as it says it: its examples are what is run here. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { encodeHex, jsonObject } from '@passport-kbs/protocol'
import { parseConfig } from '@passport-kbs/service'
import { createVirtualSnpMachine } from '@passport-kbs/testing'
import { parse as parseToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Deployment, deployments } from '../src/deployment.ts'
import { hardwareGuests } from '../src/every-tee.ts'
import { claimsOf } from '../src/handshake.ts'
import type { ConfigTable } from '../src/organisation.ts'
import type { VirtualTee } from '../src/virtual-tees.ts'
import { startVirtualVendors, type VirtualVendors } from '../src/virtual-vendors.ts'

const document = await readFile(new URL('../../docs/risk-rules.md', import.meta.url), 'utf8')

/** The examples in one language. */
const examples = (language: string) =>
  [...document.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))].map(([, text = '']) => text)

/** A guest on a processor of this generation, which is affirming once these values are registered. */
function guestOn(generation: 'Milan' | 'Genoa'): VirtualTee {
  const machine = createVirtualSnpMachine({ generation })
  const { tcb } = machine
  return {
    attester: { tee: 'snp', evidence: async (reportData) => machine.evidence({ reportData }) },
    referenceValues: jsonObject({
      snp_launch_measurement: [encodeHex(machine.measurement)],
      snp_bootloader: [tcb.bootloader],
      snp_microcode: [tcb.microcode],
      snp_snp_svn: [tcb.snp],
      snp_tee_svn: [tcb.tee],
    }),
  }
}

describe('the examples', () => {
  const chipIds: Readonly<Record<string, string>> = {
    '<128 hex digits, as in the claim chip_id>': '0a'.repeat(64),
    '<16 hex digits of a Turin>': '0b'.repeat(8),
    '<32 hex digits, as in the claim platform_instance_id>': '0c'.repeat(16),
    '<as in the claim serial_number>': 'TPC4123',
  }

  it.each(examples('toml'))('are configurations that a production KBS1 takes: %s', (text) => {
    const filled = text.replaceAll(/<[^>]+>/g, (placeholder) => chipIds[placeholder] ?? placeholder)
    const config = { http_server: { insecure_http: true }, ...parseToml(filled) }
    expect(() => parseConfig('kbs-attest', config, {})).not.toThrow()
  })
})

describe('risk rules of a running service', () => {
  let vendors: VirtualVendors
  let deployment: Deployment
  const secret = randomBytes(64)

  beforeAll(async () => {
    vendors = await startVirtualVendors()
    const { fmspc } = vendors.intel.platform()
    deployment = await deployments['background check'](async (organisation) => {
      const trusted = (await vendors.trustedBy(organisation)) as Record<string, ConfigTable>
      return {
        ...trusted,
        snp_verifier: { ...trusted.snp_verifier, risk: { refused_products: ['Milan'], flag_only: true } },
        dcap_verifier: { ...trusted.dcap_verifier, risk: { refused_products: [fmspc] } },
      }
    })
    await deployment.resources.setResourcePolicy(examples('rego').join())
    await deployment.resources.setResource('default/risk/key', secret)
  }, 60_000)
  afterAll(async () => {
    await deployment?.close()
    await vendors?.close()
  })

  it.each([
    ['Milan', ['refused-product'], 'denied'],
    ['Genoa', [], 'released'],
  ] as const)('flag a %s with %j in its passport, and the secret is %s', async (generation, risk, fate) => {
    const guest = guestOn(generation)
    await deployment.attestation.setReferenceValues(guest.referenceValues)
    const { token } = await deployment.attest(guest.attester)
    expect(claimsOf(token)).toMatchObject({
      submods: { cpu0: { 'ear.veraison.annotated-evidence': { snp: { ext: { risk } } } } },
    })
    const reading = deployment.readSecret(guest.attester, 'default/risk/key')
    if (fate === 'released') expect(Buffer.from(await reading)).toEqual(secret)
    else await expect(reading).rejects.toMatchObject({ code: 'unauthorized' })
  })

  it('refuse a genuine platform where they do not only flag', async () => {
    const { tdx, sgx, csv } = hardwareGuests(vendors)
    for (const { attester } of [tdx, sgx])
      await expect(deployment.attest(attester)).rejects.toMatchObject({
        code: 'handshake-failed',
        status: 401,
      })
    // no rule is set for this vendor
    await deployment.attest(csv.attester)
  })
})
