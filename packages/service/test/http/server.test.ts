import { mkdtemp, writeFile } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { makeServerIdentity, type TestIdentity } from '@passport-kbs/testing/tls'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createHttpServer,
  createServiceApp,
  type HttpServer,
  mountKbsRoutes,
  TlsError,
} from '../../src/index.ts'
import { httpServerConfig, recordingLogger } from '../fixtures.ts'
import { exchange, type RawAnswer } from './raw-http.ts'

const servers: HttpServer[] = []
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close({ graceMs: 0 })))
})

/** Serves an app that echoes, slowly at `/kbs/v0/slow`. */
async function serve(
  toml = '',
  certificateCheckMs?: number,
): Promise<{ server: HttpServer; port: number; log: () => string }> {
  const httpServer = httpServerConfig(toml)
  const { logger, text } = recordingLogger()
  const app = createServiceApp({ httpServer, logger })
  mountKbsRoutes(app, [
    {
      name: 'echo',
      handle: async (request) => new Response((await request.body()) as Uint8Array<ArrayBuffer>),
    },
    { name: 'ignore', handle: async () => new Response('ignored') },
    { name: 'segments', handle: async ({ segments, query }) => Response.json({ segments, query }) },
    {
      name: 'header',
      handle: async (request) => new Response(String(request.header('authorization')?.length)),
    },
    {
      name: 'slow',
      handle: () => new Promise((resolve) => setTimeout(() => resolve(new Response('slow')), 300)),
    },
  ])
  const server = await createHttpServer({
    app,
    httpServer,
    logger,
    ...(certificateCheckMs === undefined ? {} : { certificateCheckMs }),
  })
  servers.push(server)
  return { server, port: Number(new URL(server.urls[0] ?? '').port), log: text }
}

function expectProblem(answer: RawAnswer, status: number, type: string): void {
  expect(answer.status).toBe(status)
  expect(answer.headers['content-type']).toBe('application/json')
  expect(answer.headers['cache-control']).toBe('no-store')
  const body = JSON.parse(answer.body) as Record<string, string>
  expect(body.type).toBe(`https://github.com/confidential-containers/kbs/errors/${type}`)
  expect(body.detail).toBeTruthy()
  expect(body.instance).toBe(`urn:uuid:${answer.headers['x-request-id']}`)
}

async function tlsFiles(identity: TestIdentity): Promise<{ toml: string; key: string; cert: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'kbs-tls-'))
  const key = join(folder, 'key.pem')
  const cert = join(folder, 'cert.pem')
  await writeFile(key, identity.keyPem)
  await writeFile(cert, identity.pem)
  return { toml: `insecure_http = false\nprivate_key = "${key}"\ncertificate = "${cert}"\n`, key, cert }
}

describe('the target of a request', () => {
  it('is refused with a backslash, which URL parsing would take for a slash', async () => {
    const { port } = await serve()
    const answer = await exchange(
      port,
      'GET /kbs/v0/echo\\x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    )
    expectProblem(answer, 400, 'MalformedRequest')
  })
})

describe('the size of a request', () => {
  it('may be 120 KiB of header, as passports with device evidence need (spec 01 §0.9)', async () => {
    const { port } = await serve()
    const token = 'a'.repeat(120 * 1024)
    const answer = await exchange(
      port,
      `GET /kbs/v0/header HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    )
    expect(answer.status).toBe(200)
    expect(answer.body).toBe(String(token.length + 7))
  })

  it('is refused above 128 KiB of header with 431 and an error body', async () => {
    const { port } = await serve()
    const answer = await exchange(
      port,
      `GET /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nX-Big: ${'a'.repeat(200 * 1024)}\r\n\r\n`,
    )
    expectProblem(answer, 431, 'HeaderTooLarge')
  })

  it('is refused with 431 for too many header fields, not silently cut', async () => {
    const { port } = await serve()
    const fields = Array.from({ length: 200 }, (_, index) => `x-${index}: 1\r\n`).join('')
    expectProblem(
      await exchange(port, `GET /kbs/v0/echo HTTP/1.1\r\nHost: x\r\n${fields}\r\n`),
      431,
      'HeaderTooLarge',
    )
  })

  it('is refused with 413 by Content-Length, before the body is sent', async () => {
    const { port } = await serve()
    const answer = await exchange(
      port,
      `POST /kbs/v0/ignore HTTP/1.1\r\nHost: x\r\nContent-Length: ${2 * 1_048_576 + 1}\r\n\r\n`,
    )
    expectProblem(answer, 413, 'PayloadTooLarge')
    expect(JSON.parse(answer.body)).toMatchObject({ detail: 'payload reached size limit' })
  })

  it('is refused with 413 while the client still sends', async () => {
    const { port } = await serve()
    const size = 3 * 1_048_576
    const head = `POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`
    expectProblem(await exchange(port, head, Buffer.alloc(size)), 413, 'PayloadTooLarge')
  })

  it('is refused with 413 while streaming, whatever the route makes of it', async () => {
    const { port } = await serve('payload_request_size = 0.001')
    const chunk = `400\r\n${'a'.repeat(1024)}\r\n`
    const head =
      'POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n'
    expectProblem(await exchange(port, head, chunk, chunk, '0\r\n\r\n'), 413, 'PayloadTooLarge')
  })

  it('is not limited below the limit, with or without a length', async () => {
    const { port } = await serve('payload_request_size = 0.001')
    const chunked = await exchange(
      port,
      'POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n',
      '3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n',
    )
    expect(chunked.body).toContain('abcdef')
    const whole = await exchange(
      port,
      'POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabcdef',
    )
    expect(whole.body).toBe('abcdef')
  })

  it('is not waited for with 100-continue when it is too large', async () => {
    const { port } = await serve()
    const head = `POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n`
    expectProblem(await exchange(port, head), 413, 'PayloadTooLarge')
  })
})

describe('a request that is not valid HTTP', () => {
  it.each([
    ['GARBAGE\r\n\r\n', 400],
    ['GET /kbs/v0/echo HTTP/1.1\r\n\r\n', 400],
    ['GET /kbs/v0/echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['GET /kbs/v0/echo HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
    [
      'GET /kbs/v0/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n',
      400,
    ],
    ['POST /kbs/v0/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['POST /kbs/v0/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 400],
    ['GET /kbs/v0/echo HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n', 417],
    [
      'POST /kbs/v0/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx',
      415,
    ],
  ])('%j is refused with an error body', async (text, status) => {
    const { port } = await serve()
    expectProblem(await exchange(port, text), status, 'MalformedRequest')
  })

  it('is refused with 408 when the head comes too slowly', async () => {
    const { port, log } = await serve('header_timeout_ms = 200')
    const answer = await exchange(port, 'GET /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nX-Slow: ')
    expectProblem(answer, 408, 'MalformedRequest')
    expect(log()).toContain('ERR_HTTP_REQUEST_TIMEOUT')
  })

  it('is cut off when the body comes too slowly', async () => {
    const { port } = await serve('request_timeout_ms = 300\nheader_timeout_ms = 200')
    const start = performance.now()
    await exchange(port, 'POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc').catch(
      () => {},
    )
    expect(performance.now() - start).toBeLessThan(3_000)
  })
})

describe('pipelined requests', () => {
  it('are answered in their order, a refused one too', async () => {
    const { port } = await serve()
    const slow = 'GET /kbs/v0/slow HTTP/1.1\r\nHost: x\r\n\r\n'
    const answer = await exchange(port, `${slow}GET /kbs/v0/echo HTTP/1.1\r\n\r\n`)
    expect(answer.status).toBe(200)
    expect(answer.body).toMatch(/^4\r\nslow|^slow/)
    expect(answer.body).toContain('HTTP/1.1 400')
    expect(answer.body).toContain('MalformedRequest')
  })
})

describe('the path of a request', () => {
  const get = (port: number, target: string) =>
    exchange(port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)

  it.each([
    ['/kbs/v0/segments/a%2Fb//c', ['segments', 'a', 'b', '', 'c']],
    ['/kbs/v0/segments/../x', ['segments', '..', 'x']],
    ['/kbs/v0/segments/%2E%2e/x', ['segments', '..', 'x']],
    ['/kbs/v0/%73egments/%C3%A4', ['segments', 'ä']],
    ['http://other.example/kbs/v0/segments/a', ['segments', 'a']],
  ])('%s is decoded, then split, and not normalised', async (target, segments) => {
    const { port } = await serve()
    const answer = await get(port, target)
    expect(answer.status).toBe(200)
    expect((JSON.parse(answer.body) as { segments: string[] }).segments).toEqual(segments)
  })

  it.each([
    ['/kbs/v0', 404],
    ['/kbs/v1/segments', 404],
    ['/x/../kbs/v0/segments', 404],
    ['/kbs/v0/nothing', 404],
    ['/kbs/v0/segments/%zz', 400],
    ['/kbs/v0/segments/%ff', 400],
    ['/kbs/v0/segments/a%00b', 400],
    ['/kbs/v0/segments/a%0ab', 400],
    ['/kbs/v0/segments?a=%zz', 400],
  ])('%s gives %d with an error body', async (target, status) => {
    const { port } = await serve()
    const answer = await get(port, target)
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.body)).toHaveProperty('detail')
  })

  it('has a flat query of which the last value counts', async () => {
    const { port } = await serve()
    const answer = await get(port, '/kbs/v0/segments?a=1&a=2&b=x+y%26&c&__proto__=p')
    expect((JSON.parse(answer.body) as { query: unknown }).query).toEqual(
      Object.assign(Object.create(null), { a: '2', b: 'x y&', c: '', ['__proto__']: 'p' }),
    )
  })
})

describe('closing', () => {
  it('lets requests in work finish, and accepts no more', async () => {
    const { server, port } = await serve()
    const answer = exchange(port, 'GET /kbs/v0/slow HTTP/1.1\r\nHost: x\r\n\r\n')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const closed = server.close({ graceMs: 5_000 })
    expect(server.draining).toBe(true)
    expect((await answer).body).toContain('slow')
    const start = performance.now()
    await closed
    // kept connections do not wait for their idle time
    expect(performance.now() - start).toBeLessThan(1_000)
    await expect(exchange(port, 'GET /kbs/v0/slow HTTP/1.1\r\nHost: x\r\n\r\n')).rejects.toThrow()
  })

  it('answers what is on its way on a kept connection, and closes it then', async () => {
    const { server, port } = await serve()
    const socket = connectPlain(port, '127.0.0.1')
    let answers = ''
    socket.on('data', (chunk) => {
      answers += String(chunk)
    })
    const ended = new Promise((resolve) => socket.once('end', resolve))
    const request = 'POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n'
    socket.write(`${request}first`)
    await expect.poll(() => answers.endsWith('first')).toBe(true)
    expect(answers).toMatch(/connection: keep-alive/i)
    // the kernel has it, the server has not read it yet
    socket.write(`${request}other`)
    const closed = server.close({ graceMs: 5_000 })
    await ended
    expect(answers.endsWith('other')).toBe(true)
    await closed
  })

  it('does not wait for clients that have only connected, but for those that are sending', async () => {
    const { server, port } = await serve()
    const silent = connectPlain(port, '127.0.0.1')
    const sending = connectPlain(port, '127.0.0.1')
    const end = (socket: typeof silent) =>
      new Promise<number>((resolve) => {
        socket.on('error', () => {}).once('close', () => resolve(performance.now()))
      })
    const [silentEnd, sendingEnd] = [end(silent), end(sending)]
    let answer = ''
    sending.on('data', (chunk) => {
      answer += String(chunk)
    })
    sending.write('POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const start = performance.now()
    const closed = server.close({ graceMs: 20_000 })
    setTimeout(() => sending.write('lf'), 1_500)
    expect((await silentEnd) - start).toBeLessThan(1_400)
    expect((await sendingEnd) - start).toBeGreaterThan(1_400)
    await closed
    expect([answer.startsWith('HTTP/1.1 200 OK'), answer.endsWith('half')]).toEqual([true, true])
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  it('does the same over TLS', async () => {
    const { ca, server: identity } = makeServerIdentity()
    const { server, port } = await serve((await tlsFiles(identity)).toml)
    const options = { port, host: '127.0.0.1', ca: ca.pem }
    const connected = () =>
      new Promise<TLSSocket>((resolve, reject) => {
        const socket = connectTls(options, () => resolve(socket)).on('error', reject)
      })
    const [silent, sending] = [await connected(), await connected()]
    const shaking = connectPlain(port, '127.0.0.1')
    const end = (socket: typeof shaking) =>
      new Promise<number>((resolve) => {
        socket.on('error', () => {}).once('close', () => resolve(performance.now()))
      })
    const [silentEnd, shakingEnd, sendingEnd] = [end(silent), end(shaking), end(sending)]
    let answer = ''
    sending.on('data', (chunk) => {
      answer += String(chunk)
    })
    sending.write('POST /kbs/v0/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const start = performance.now()
    const closed = server.close({ graceMs: 5_000 })
    setTimeout(() => sending.write('lf'), 1_500)
    expect((await shakingEnd) - start).toBeLessThan(1_400)
    expect((await silentEnd) - start).toBeLessThan(1_400)
    expect((await sendingEnd) - start).toBeGreaterThan(1_400)
    await closed
    expect([answer.startsWith('HTTP/1.1 200 OK'), answer.endsWith('half')]).toEqual([true, true])
    expect(performance.now() - start).toBeLessThan(4_000)
  })

  it('cuts off what takes longer than the grace time', async () => {
    const { server, port } = await serve()
    const answer = exchange(port, 'GET /kbs/v0/slow HTTP/1.1\r\nHost: x\r\n\r\n').catch(() => 'cut')
    await new Promise((resolve) => setTimeout(resolve, 50))
    const start = performance.now()
    await server.close({ graceMs: 50 })
    expect(performance.now() - start).toBeLessThan(250)
    expect(await answer).toBe('cut')
  })
})

describe('a TLS handshake', () => {
  it('that never ends is given up, and does not hold up the end of the service', async () => {
    const { server: identity } = makeServerIdentity()
    const { server, port } = await serve(`${(await tlsFiles(identity)).toml}header_timeout_ms = 60000`)
    const socket = connectPlain(port, '127.0.0.1')
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const start = performance.now()
    await server.close({ graceMs: 50 })
    expect(performance.now() - start).toBeLessThan(2_000)
    const impatient = await serve(`${(await tlsFiles(identity)).toml}header_timeout_ms = 100`)
    const slow = connectPlain(impatient.port, '127.0.0.1')
    await new Promise((resolve) => slow.once('close', resolve))
  })
})

describe('connections', () => {
  it('are limited for each client', async () => {
    const { port } = await serve('max_connections_per_client = 2')
    const open = [connectPlain(port, '127.0.0.1'), connectPlain(port, '127.0.0.1')]
    await Promise.all(open.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
    await expect(exchange(port, 'GET /kbs/v0/echo HTTP/1.1\r\nHost: x\r\n\r\n')).rejects.toThrow('no answer')
    for (const socket of open) socket.destroy()
  })

  it('are bound on all sockets, and none when one cannot be', async () => {
    const { port } = await serve()
    const { logger } = recordingLogger()
    const httpServer = httpServerConfig(`sockets = ["127.0.0.1:0", "127.0.0.1:${port}"]`)
    const app = createServiceApp({ httpServer, logger })
    await expect(createHttpServer({ app, httpServer, logger })).rejects.toThrow(/EADDRINUSE/)
  })
})

describe('TLS', () => {
  function handshake(port: number, options: ConnectionOptions): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connectTls({ port, host: '127.0.0.1', ...options }, () => resolve(socket))
      socket.once('error', reject)
    })
  }

  it('serves over a certificate of a CA, and demands TLS henceforth', async () => {
    const { ca, server: identity } = makeServerIdentity()
    const { port, server } = await serve((await tlsFiles(identity)).toml)
    expect(server.urls[0]).toMatch(/^https:/)
    const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
      httpsRequest({ port, host: '127.0.0.1', path: '/kbs/v0/ignore', ca: ca.pem }, (response) => {
        response.resume()
        resolve(response.headers)
      })
        .on('error', reject)
        .end()
    })
    expect(headers['strict-transport-security']).toMatch(/max-age/)
  })

  it.each([
    ['intermediate', 'TLSv1.2', true],
    ['intermediate', 'TLSv1.3', true],
    ['old', 'TLSv1.2', true],
    ['modern', 'TLSv1.2', false],
    ['modern', 'TLSv1.3', true],
    ['intermediate', 'TLSv1.1', false],
  ] as const)('profile %s with a client of %s: %s', async (profile, version, accepted) => {
    const { ca, server: identity } = makeServerIdentity()
    const { port } = await serve(`${(await tlsFiles(identity)).toml}tls_profile = "${profile}"`)
    // security level 0 lets the client offer old versions at all
    const attempt = handshake(port, {
      ca: ca.pem,
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT:@SECLEVEL=0',
    })
    if (accepted) expect((await attempt).getProtocol()).toBe(version)
    else await expect(attempt).rejects.toThrow()
  })

  it('refuses a cipher that the profile does not have', async () => {
    const { ca, server: identity } = makeServerIdentity()
    const { port } = await serve((await tlsFiles(identity)).toml)
    const options = { ca: ca.pem, maxVersion: 'TLSv1.2' as const, ciphers: 'ECDHE-ECDSA-AES128-SHA256' }
    await expect(handshake(port, options)).rejects.toThrow()
  })

  it('agrees on an ML-KEM hybrid with a client that has one', async () => {
    const { ca, server: identity } = makeServerIdentity()
    const { port } = await serve((await tlsFiles(identity)).toml)
    const socket = await handshake(port, { ca: ca.pem, ecdhCurve: 'X25519MLKEM768' })
    expect(socket.getProtocol()).toBe('TLSv1.3')
    const narrow = await serve(`${(await tlsFiles(identity)).toml}tls_groups = "secp256r1"`)
    await expect(handshake(narrow.port, { ca: ca.pem, ecdhCurve: 'X25519MLKEM768' })).rejects.toThrow()
  })

  it('takes a changed certificate into use without a restart, and keeps the former over a broken one', async () => {
    const first = makeServerIdentity('first')
    const second = makeServerIdentity('second')
    const files = await tlsFiles(first.server)
    const { server, port, log } = await serve(files.toml, 60_000)
    const subject = async (ca: string) => (await handshake(port, { ca })).getPeerCertificate().subject.CN
    expect(await subject(first.ca.pem)).toBe('first')

    await writeFile(files.cert, second.server.pem)
    await server.reloadCertificate()
    expect(log()).toContain('cannot be used')
    expect(await subject(first.ca.pem)).toBe('first')

    await writeFile(files.key, second.server.keyPem)
    await server.reloadCertificate()
    expect(await subject(second.ca.pem)).toBe('second')
  })

  it('looks for a changed certificate by itself', async () => {
    const first = makeServerIdentity('first')
    const second = makeServerIdentity('second')
    const files = await tlsFiles(first.server)
    const { log } = await serve(files.toml, 50)
    await writeFile(files.key, second.server.keyPem)
    await writeFile(files.cert, second.server.pem)
    await expect.poll(log, { timeout: 3_000 }).toContain('taken into use')
  })

  it.each([
    ['tls_groups = "nonsense"', /tls_groups.*nonsense/],
    ['tls_ciphers = "NONSENSE"', /cannot be used together/],
  ])('does not start with %s', async (setting, message) => {
    const { server: identity } = makeServerIdentity()
    const { toml } = await tlsFiles(identity)
    await expect(serve(toml + setting)).rejects.toThrow(message)
  })

  it('does not start with a certificate for another key', async () => {
    const files = await tlsFiles(makeServerIdentity().server)
    await writeFile(files.key, makeServerIdentity().server.keyPem)
    await expect(serve(files.toml)).rejects.toThrow(TlsError)
  })
})
