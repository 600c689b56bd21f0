import { describe, expect, it } from 'vitest'
import { mountSecrets, openStorage, storedSecrets } from '../../src/index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('back ends beside the store', () => {
  it('take every path below their prefix, and no other', async () => {
    const storage = await openStorage({ type: 'Memory' })
    const main = storedSecrets(storage.namespace('repository'))
    const beside = storedSecrets(storage.namespace('beside'))
    const secrets = mountSecrets(main, [{ prefix: 'default/akv', backend: beside }])
    await main.write('default/akv/one', bytes('hidden'))
    await main.write('default/akv2/one', bytes('main'))
    expect(await secrets.read('default/akv/one')).toBeUndefined()
    expect(await secrets.read('default/akv2/one')).toEqual(bytes('main'))
    await secrets.write('default/akv/one', bytes('beside'))
    expect(await beside.read('default/akv/one')).toEqual(bytes('beside'))
    expect(await secrets.delete('default/akv/one')).toBe(true)
    expect(await secrets.delete('default/akv/one')).toBe(false)
    expect(await main.read('default/akv/one')).toEqual(bytes('hidden'))
  })
})
