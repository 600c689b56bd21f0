import { readFileSync } from 'node:fs'
import { storageTypeSchema } from '@passport-kbs/storage'
import { describe, expect, it } from 'vitest'
import { configSchema } from '../../packages/service/src/config/schema.ts'
import { membersOf, schemaAt, unwrap } from '../../packages/service/src/config/schema-walk.ts'
import { attestationBackEnds } from '../src/back-ends/attestation-back-ends.ts'
import { faults } from '../src/back-ends/faults.ts'
import { secretServers } from '../src/back-ends/secret-servers.ts'
import { secretStores } from '../src/back-ends/secret-stores.ts'
import { tablePage, tableText } from '../src/back-ends/table.ts'

const rows = [...attestationBackEnds, ...secretServers, ...secretStores]
const chosen = (choices: readonly { readonly choice: string }[]) => choices.map(({ choice }) => choice).sort()

/** The values that a key may have which tells the alternatives of a section apart. */
function alternatives(key: string, ...path: readonly (string | number)[]): readonly string[] {
  const section = schemaAt(configSchema, path)
  const texts = section === undefined ? [] : literalsOf(section, key)
  expect(texts.length, `${path.join('.')}.${key}`).toBeGreaterThan(0)
  return [...new Set(texts)]
}

function literalsOf(section: NonNullable<ReturnType<typeof schemaAt>>, key: string): readonly string[] {
  const { definition } = unwrap(section)
  if (definition.options !== undefined) return definition.options.flatMap((each) => literalsOf(each, key))
  const member = definition.shape?.[key]
  return member === undefined ? [] : (unwrap(member).definition.values ?? []).map(String)
}

describe('the table of back ends and faults', () => {
  it('has a row for each way of attestation that the configuration knows', () => {
    const types = alternatives('type', 'attestation_service')
    const sources = alternatives(
      'type',
      ...['attestation_service', 'verifier_config', 'snp_verifier', 'vcek_sources', 0],
    )
    // the built-in one asks others: each source of VCEKs, of collateral, and of Hygon's certificates
    const verifiers = ['attestation_service', 'verifier_config']
    const services = [
      ['dcap_verifier', 'collateral_service'],
      ['csv_verifier', 'base_url'],
    ]
    for (const path of services) expect(schemaAt(configSchema, [...verifiers, ...path])).toBeDefined()
    const expected = [
      ...types.filter((type) => type !== 'coco_as_builtin'),
      ...sources,
      ...services.map(([, key = '']) => key),
    ]
    expect(chosen(attestationBackEnds)).toEqual(expected.sort())
  })

  it('has a row for each place of secrets that the configuration knows', () => {
    const versions = literalUnion('kv_version', 'plugins', 0).map((version) => `Vault ${version}`)
    const places = alternatives('storage_backend_type', 'plugins', 0).flatMap((type) =>
      type === 'KvStorage' ? [] : type === 'Vault' ? versions : [type],
    )
    const backends = schemaAt(configSchema, ['storage_backend', 'backends'])
    const stores = backends === undefined ? [] : [...membersOf(backends).keys()]
    const types = stores.map((key) => storageTypeSchema.parse(key))
    const mounts = schemaAt(configSchema, ['plugins', 0, 'mounts']) === undefined ? [] : ['mounts']
    const expected = [...places, ...types, 'Memory', ...mounts]
    expect(chosen([...secretServers, ...secretStores])).toEqual(expected.sort())
  })

  it('says of each fault what is expected, or why it cannot be', () => {
    for (const { name, expectations } of rows) {
      expect(Object.keys(expectations).sort(), name).toEqual([...faults].sort())
      for (const expected of Object.values(expectations))
        if (typeof expected === 'string') expect(expected.length, name).toBeGreaterThan(5)
    }
  })

  it('is docs/back-end-failures.md (pnpm docs)', () => {
    expect(readFileSync(tablePage, 'utf8')).toBe(tableText())
  })
})

/** The literals of a union of them. */
function literalUnion(key: string, ...path: readonly (string | number)[]): readonly string[] {
  const schema = schemaAt(configSchema, [...path, key])
  const { definition } = unwrap(schema ?? configSchema)
  return (definition.options ?? []).flatMap((option) => (unwrap(option).definition.values ?? []).map(String))
}
