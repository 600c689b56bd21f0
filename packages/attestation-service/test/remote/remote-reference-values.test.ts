import { status } from '@grpc/grpc-js'
import { encodeBase64, encodeUtf8, type JsonValue, jsonObject, stringifyJson } from '@passport-kbs/protocol'
import { describe, expect, it, onTestFinished } from 'vitest'
import { AttestationUnavailable, ReferenceValueError } from '../../src/index.ts'
import { openRemoteReferenceValues, type RemoteReferenceValuesOptions } from '../../src/remote/index.ts'
import { type FakeServiceOptions, type Method, silentPort, startFakeService } from './fake-service.ts'

const now = new Date()

function provider(url: URL, changes: Partial<RemoteReferenceValuesOptions> = {}) {
  const values = openRemoteReferenceValues({
    url,
    maxConnections: 10,
    requestTimeoutMs: 1_000,
    messageLimit: 4_194_304,
    cacheMs: 0,
    ...changes,
  })
  onTestFinished(() => values.close())
  return values
}

/** A provider that keeps what is registered, as spec 02 §6 says. */
async function startProvider(options: FakeServiceOptions = {}) {
  const stored = new Map<string, string>()
  const query: Method = ({ request }, callback) => {
    const found = stored.get(String(Reflect.get(request, 'reference_value_id')))
    callback(null, found === undefined ? {} : { reference_value_results: found })
  }
  const register: Method = ({ request }, callback) => {
    const { payload } = JSON.parse(String(Reflect.get(request, 'message')))
    const values = JSON.parse(Buffer.from(payload, 'base64').toString())
    for (const [name, value] of Object.entries(values)) stored.set(name, JSON.stringify(value))
    callback(null, {})
  }
  const methods = { QueryReferenceValue: query, RegisterReferenceValue: register, ...options.methods }
  return { stored, server: await startFakeService({ ...options, methods }) }
}

const envelope = (values: Record<string, JsonValue>) =>
  jsonObject({ type: 'sample', payload: encodeBase64(encodeUtf8(stringifyJson(jsonObject(values)))) })

describe('reference values of a provider elsewhere (spec 02 §6.4)', () => {
  it('are registered there and asked for there, in the order asked; an unknown name is none', async () => {
    const { server, stored } = await startProvider()
    const values = provider(server.url)
    expect(await values.register(envelope({ svn: ['1', 2], empty: '' }), now)).toEqual(['svn', 'empty'])
    expect(stored.get('svn')).toBe('["1",2]')
    expect(await values.queryMany(['empty', 'none', 'svn'], now)).toEqual(['', undefined, ['1', 2]])
    expect(await values.query('svn', now)).toEqual(['1', 2])
  })

  it('are asked for once by many evaluations at a time, and again when the answer is old, or was changed here', async () => {
    let time = 0
    const { server, stored } = await startProvider()
    stored.set('svn', '["1"]')
    const values = provider(server.url, { cacheMs: 1_000, clock: () => time })
    const queries = () => server.calls.filter((path) => path.endsWith('QueryReferenceValue')).length
    await Promise.all(Array.from({ length: 100 }, () => values.queryMany(['svn', 'none'], now)))
    expect(queries()).toBe(2)
    stored.set('svn', '["2"]')
    time = 999
    expect(await values.query('svn', now)).toEqual(['1'])
    time = 1_000
    expect(await values.query('svn', now)).toEqual(['2'])
    await values.register(envelope({ svn: ['3'] }), now)
    expect(await values.query('svn', now)).toEqual(['3'])
  })

  it('are unavailable, never none, while the provider is down, silent, or answers nonsense', async () => {
    const garbage: Method = (_call, callback) => callback(null, { reference_value_results: '{"half' })
    const fails: Method = (_call, callback) => callback({ code: status.INTERNAL, details: 'broken' })
    const urls = [
      (await startProvider({ methods: { QueryReferenceValue: garbage } })).server.url,
      (await startProvider({ methods: { QueryReferenceValue: fails } })).server.url,
      new URL(`http://127.0.0.1:${(await silentPort()).port}`),
      new URL('http://127.0.0.1:1'),
    ]
    for (const url of urls) {
      await expect(provider(url).queryMany(['svn'], now), url.href).rejects.toThrow(AttestationUnavailable)
    }
  })

  it('that could not be had are not remembered', async () => {
    const { server } = await startProvider()
    const values = provider(server.url, { cacheMs: 60_000, requestTimeoutMs: 500 })
    server.stop()
    await expect(values.query('svn', now)).rejects.toThrow(/the reference value provider/)
    const again = await startProvider({ port: Number(server.url.port) })
    again.stored.set('svn', '["1"]')
    await expect
      .poll(() => values.query('svn', now).catch(() => undefined), { timeout: 5_000 })
      .toEqual(['1'])
  })

  it('are refused as the provider refuses them', async () => {
    const refuses: Method = (_call, callback) =>
      callback({ code: status.ABORTED, details: 'no such extractor' })
    const { server } = await startProvider({ methods: { RegisterReferenceValue: refuses } })
    const error = await provider(server.url)
      .register(envelope({}), now)
      .catch((caught) => caught)
    expect(error).toBeInstanceOf(ReferenceValueError)
    expect(error.message).toBe('no such extractor')
  })

  it('are ready when the provider says that it serves, or knows no health checks', async () => {
    await provider((await startProvider()).server.url).ping()
    await provider((await startProvider({ health: 'none' })).server.url).ping()
    const { server } = await startProvider({ health: 'NOT_SERVING' })
    await expect(provider(server.url).ping()).rejects.toThrow(/provider is not serving/)
  })
})
