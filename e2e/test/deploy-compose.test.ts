import { execFile, execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import {
  createGuest,
  getResourceWithPassport,
  type Passport,
  sampleAttester,
} from '@passport-kbs/guest-client'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { parse as parseToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ComposeProcesses } from '../src/compose-processes.ts'
import { readComposeFile } from '../src/containers/compose-file.ts'
import { headerOf } from '../src/handshake.ts'
import { callKbsctl } from '../src/kbsctl.ts'
import { createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Ended, Program } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const root = resolve(import.meta.dirname, '../..')
const page = readFileSync(join(root, 'docs/deploy-compose.md'), 'utf8')

/** The commands of the page's code blocks, one a line. */
const commands = [...page.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = '']) => block.trim().split('\n'))

/** The commands in its running text and tables. */
const inline = [...page.matchAll(/`(docker compose [^`]+)`/g)].map(([, command = '']) => command)

describe('docs/deploy-compose.md names what there is', () => {
  const all = [...commands, ...inline].filter((command) => command.includes('docker compose'))

  it('has commands', () => {
    expect(all.length).toBeGreaterThan(15)
  })

  it.each(all)('%s', (command) => {
    const [, file = '', verb = '', rest = ''] =
      /^(?:[A-Z_]+=\S+ )*docker compose -f (\S+) (build|run|up|down|stop|start|restart|ps|logs)\b ?(.*)$/.exec(
        command,
      ) ?? []
    expect(verb).not.toBe('')
    // "…" and "<where>" stand for any of the files
    if (/[…<]/.test(file)) return
    const model = readComposeFile(join(root, file), {})
    const words = rest.split(' ').filter((word) => word !== '')
    if (verb === 'run') {
      expect(words[0]).toBe('--rm')
      expect(model.services.get(words[1] ?? '')?.profiles).toEqual([words[1]])
      return
    }
    for (const word of words) {
      if (word.startsWith('-')) expect(['-d', '--wait', '--no-deps']).toContain(word)
      else expect([...model.services.keys()]).toContain(word)
      if (verb === 'build') expect(model.services.get(word)?.build).toBeDefined()
    }
  })

  it('names documents, files and headings that are there', () => {
    for (const [, target = '', anchor] of page.matchAll(/\]\(([a-z-]+\.md)(?:#([a-z0-9-]+))?\)/g)) {
      const text = readFileSync(join(root, 'docs', target), 'utf8')
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
        heading
          .toLowerCase()
          .replaceAll(/[^a-z0-9 -]/g, '')
          .replaceAll(' ', '-'),
      )
      if (anchor !== undefined) expect(headings).toContain(anchor)
    }
    for (const [, path = ''] of page.matchAll(/`(docker\/(?:compose|config)[a-z0-9./-]+\.[a-z]+)`/g))
      expect(existsSync(join(root, path)), path).toBe(true)
  })

  it('says of every item of every program how it is renewed', () => {
    const items = readFileSync(join(root, 'apps/kbsctl/src/deployment/deployment-items.ts'), 'utf8')
    const [, list = ''] = /export const items = \[([^\]]+)\]/.exec(items) ?? []
    const names = [...list.matchAll(/'([^']+)'/g)].map(([, name = '']) => name)
    expect(names.length).toBeGreaterThan(8)
    for (const name of names) expect(page).toContain(`--renew ${name}`)
  })
})

describe.skipIf(!redisAvailable())('docs/deploy-compose.md, followed without an engine', () => {
  const place = mkdtempSync(join(tmpdir(), 'kbs-deploy-'))
  const trustee1 = new ComposeProcesses('trustee1', 'kbs-attest', place, {
    KBS_DNS: 'trustee1.example,localhost',
  })
  const trustee2 = new ComposeProcesses('trustee2', 'kbs-resource', place, {
    KBS_DNS: 'trustee2.example,localhost',
  })
  const path = 'default/database/key'
  const secret = 'the database key'
  let passport: Passport

  const file = (name: string) => readFileSync(join(place, 'docker/secrets', name), 'utf8')

  /** Runs the page's `kbsctl` commands that hold this text, with the ports of here. */
  const follow = async (text: string): Promise<Ended[]> => {
    const outcomes: Ended[] = []
    for (const command of commands.filter((one) => one.startsWith('kbsctl ') && one.includes(text))) {
      const [line = '', target] = command.split(' > ')
      const words = line
        .replace('https://localhost:8081', () => trustee1.program.url.replace('127.0.0.1', 'localhost'))
        .replace('https://localhost:8082', () => trustee2.program.url.replace('127.0.0.1', 'localhost'))
        .split(' ')
        .map((word) => word.replaceAll('"', ''))
      const outcome = await callKbsctl(words.slice(1), place)
      expect(outcome, command).toMatchObject({ code: 0 })
      if (target !== undefined) writeFileSync(join(place, target), outcome.stdout, { mode: 0o600 })
      outcomes.push(outcome)
    }
    expect(outcomes.length, text).toBeGreaterThan(0)
    return outcomes
  }
  const kbsctl1 = (...args: string[]) =>
    callKbsctl(
      [
        ...['--url', trustee1.program.url, '--cert-file', 'docker/secrets/trustee1/ca.pem', 'config'],
        ...['--admin-token-file', 'docker/secrets/trustee1/admin-token', ...args],
      ],
      place,
    )
  const attest = () =>
    createGuest({
      kbsUrl: trustee1.program.url,
      attester: sampleAttester(),
      ca: file('trustee1/ca.pem'),
    }).attestOnce()
  const read = async (shown: Passport = passport) =>
    new TextDecoder().decode(
      await getResourceWithPassport({
        kbsUrl: trustee2.program.url,
        ca: file('trustee2/ca.pem'),
        path,
        ...shown,
      }),
    )

  beforeAll(async () => {
    expect(await trustee1.init()).toMatchObject({ code: 0 })
    expect(await trustee2.init()).toMatchObject({ code: 0 })
    mkdirSync(join(place, 'docker/secrets/received'))
    writeFileSync(join(place, 'docker/secrets/received/trustee1-ca.pem'), file('trustee1/token-ca.pem'))
    const handover =
      commands.find((command) => command.includes('--renew trustee1-ca'))?.split(' init ')[1] ?? ''
    expect(await trustee2.init(...handover.split(' '))).toMatchObject({ code: 0 })
    await Promise.all([trustee1.up(), trustee2.up()])
    await follow('admin-token --key')
    await follow('set-sample-reference-value')
    writeFileSync(join(place, 'key'), secret)
    await follow('set-resource')
    // what a sample has to be like; the page speaks of real TEEs
    for (const [name, value] of Object.entries(virtualTees.sample().referenceValues)) {
      const single = Array.isArray(value) ? [] : ['--as-integer', '--as-single-value']
      const outcome = await kbsctl1('set-sample-reference-value', name, String(value), ...single)
      expect(outcome).toMatchObject({ code: 0 })
    }
  }, 90_000)
  afterAll(async () => {
    await Promise.all([trustee1.down(), trustee2.down()])
    rmSync(place, { recursive: true })
  }, 30_000)

  it('brings a guest from evidence to the secret', async () => {
    passport = await attest()
    expect(await read()).toBe(secret)
  })

  it('answers ready, and publishes one key with its chain', async () => {
    const get = (path: string) =>
      ask(`${trustee1.program.url}${path}`, join(place, 'docker/secrets/trustee1/ca.pem'))
    expect(await get('/readyz')).toMatch(/^200 /)
    const { keys } = JSON.parse((await get('/.well-known/jwks.json')).replace(/^200 /, ''))
    expect(keys).toMatchObject([{ x5c: [expect.any(String), expect.any(String)] }])
    for (const { program } of [trustee1, trustee2])
      expect(program.log().filter(({ level }) => Number(level) >= 50 || level === 'error')).toEqual([])
  })

  it('finds no secret that others may read', () => {
    const [, command = ''] = /`(find docker\/secrets [^`]+)`/.exec(page) ?? []
    const find = () => execFileSync('sh', ['-c', command], { cwd: place, encoding: 'utf8' })
    expect(find()).toBe('')
    chmodSync(join(place, 'docker/secrets/trustee1/token.key'), 0o644)
    expect(find()).toBe('docker/secrets/trustee1/token.key\n')
    chmodSync(join(place, 'docker/secrets/trustee1/token.key'), 0o600)
  })

  describe('Redis', () => {
    const asUser = (user: string, ...command: string[]) => {
      const password = file('trustee2/redis.password').trim()
      const ca = join(place, 'docker/secrets/trustee2/ca.pem')
      const args = ['-p', String(trustee2.redisPort), '--tls', '--cacert', ca, '--user', user, ...command]
      return execFileSync('redis-cli', args, {
        encoding: 'utf8',
        env: { PATH: process.env.PATH, REDISCLI_AUTH: password },
        stdio: ['ignore', 'pipe', 'pipe'],
      }).trim()
    }

    it('lets the program do all that it needs: no command was refused so far', () => {
      expect(asUser('kbs', 'PING')).toBe('PONG')
      for (const { program } of [trustee1, trustee2]) expect(program.output()).not.toMatch(/NOPERM|WRONGPASS/)
    })

    it.each([
      ['CONFIG', 'GET', '*'],
      ['FLUSHALL'],
      ['FLUSHDB'],
      ['KEYS', '*'],
      ['ACL', 'LIST'],
      ['DEBUG', 'SLEEP', '0'],
      ['SAVE'],
      ['SHUTDOWN'],
      ['REPLICAOF', 'localhost', '1'],
      ['MODULE', 'LIST'],
      ['SCRIPT', 'FLUSH'],
      ['MONITOR'],
      ['CLIENT', 'LIST'],
      ['SUBSCRIBE', 'x'],
      ['RENAME', 'kbs:a', 'kbs:b'],
      ['DUMP', 'kbs:a'],
      ['EVAL', "return redis.call('CONFIG', 'GET', 'dir')", '0'],
    ])('refuses its user %s %s', (...command) => {
      expect(asUser('kbs', ...command)).toMatch(/NOPERM|not allowed|can't run this command/i)
    })

    it('refuses it keys that are not the program’s', () => {
      expect(asUser('kbs', 'SET', 'other', '1')).toContain('NOPERM')
      expect(asUser('kbs', 'GET', 'kbs:nothing')).toBe('')
    })

    it('lets nobody in as another, without a password or without TLS', () => {
      expect(asUser('default', 'PING')).toMatch(/WRONGPASS|NOAUTH/)
      const anonymous = ['-p', String(trustee2.redisPort), '--tls']
      const ca = ['--cacert', join(place, 'docker/secrets/trustee2/ca.pem')]
      expect(execFileSync('redis-cli', [...anonymous, ...ca, 'PING'], { encoding: 'utf8' })).toContain(
        'NOAUTH',
      )
      expect(() =>
        execFileSync('redis-cli', ['-p', String(trustee2.redisPort), 'PING'], {
          stdio: 'pipe',
          timeout: 5_000,
        }),
      ).toThrow()
    })

    it('keeps everything over a crash: the append-only file is replayed', async () => {
      await trustee1.stopRedis('SIGKILL')
      await trustee2.stopRedis('SIGKILL')
      await trustee1.startRedis()
      await trustee2.startRedis()
      await eventually(async () => expect(await read()).toBe(secret))
      await eventually(async () => expect(await read(await attest())).toBe(secret))
    })

    it('has no secret in the clear', () => {
      const data = join(place, 'docker/data/trustee2')
      const files = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) =>
        entry.isFile(),
      )
      const content = files.map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1')).join()
      expect(content).toContain('PKBSenc')
      expect(content).not.toContain(secret)
    })
  })

  it('a backup brings back what was, encrypted and all', async () => {
    const data = join(place, 'docker/data/trustee2')
    await trustee2.down()
    await cp(data, join(place, 'backup'), { recursive: true })
    await trustee2.up()
    writeFileSync(join(place, 'key'), 'another')
    await follow('set-resource --path')
    await eventually(async () => expect(await read()).toBe('another'))
    await trustee2.down()
    rmSync(data, { recursive: true })
    await cp(join(place, 'backup'), data, { recursive: true })
    await trustee2.up()
    expect(await read()).toBe(secret)
  }, 60_000)

  describe('each key is renewed as the table says:', () => {
    const renew = async (trustee: ComposeProcesses, ...args: string[]) =>
      expect(await trustee.init(...args)).toMatchObject({ code: 0 })

    it('the storage key, and then everything is under the new one', async () => {
      await renew(trustee2, '--renew', 'storage')
      await trustee2.restartProgram()
      expect(await read()).toBe(secret)
      expect(await trustee2.rewrap()).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/repository: 1 re-wrapped, .* 0 failed/),
      })
      expect(await read()).toBe(secret)
      // now the key before the last is needed by nobody
      await renew(trustee2, '--renew', 'storage')
      await trustee2.restartProgram()
      expect(await read()).toBe(secret)
      expect(await trustee2.rewrap()).toMatchObject({ code: 0 })
    }, 60_000)

    it('the password of Redis, in the order of the table: nobody is ever shut out', async () => {
      await renew(trustee2, '--renew', 'redis')
      await trustee2.stopRedis('SIGTERM')
      await trustee2.startRedis()
      await eventually(async () => expect(await read()).toBe(secret))
      await trustee2.restartProgram()
      await renew(trustee2, '--forget', 'redis')
      await trustee2.stopRedis('SIGTERM')
      await trustee2.startRedis()
      await eventually(async () => expect(await read()).toBe(secret))
    }, 60_000)

    it('the signer: passports of the old key stay valid, for Trustee 2 has pinned the CA', async () => {
      await renew(trustee1, '--renew', 'token')
      await trustee1.restartProgram()
      const next = await attest()
      expect(headerOf(next.token).kid).not.toBe(headerOf(passport.token).kid)
      expect(await read(next)).toBe(secret)
      expect(await read()).toBe(secret)
      passport = next
    }, 30_000)

    it('the passport CA: Trustee 2 trusts both while it changes, and in the end the new one only', async () => {
      const handOver = async () => {
        writeFileSync(join(place, 'docker/secrets/received/trustee1-ca.pem'), file('trustee1/token-ca.pem'))
        await renew(trustee2, '--renew', 'trustee1-ca', '--trustee1-ca', '/secrets/received/trustee1-ca.pem')
        await trustee2.restartProgram()
      }
      await renew(trustee1, '--renew', 'token-ca')
      await handOver()
      await renew(trustee1, '--renew', 'token')
      await trustee1.restartProgram()
      const next = await attest()
      expect([await read(), await read(next)]).toEqual([secret, secret])
      await renew(trustee1, '--forget', 'token-ca')
      await handOver()
      expect(await read(next)).toBe(secret)
      await expect(read()).rejects.toThrow()
      passport = next
    }, 60_000)

    it('the TLS CA: clients that trust both connect before and after', async () => {
      const before = file('trustee2/ca.pem')
      await renew(trustee2, '--renew', 'ca')
      const both = file('trustee2/ca.pem')
      expect(await read()).toBe(secret)
      await renew(trustee2, '--renew', 'tls')
      await renew(trustee2, '--renew', 'redis-tls')
      await trustee2.down()
      await trustee2.up()
      const readWith = (ca: string) =>
        getResourceWithPassport({ kbsUrl: trustee2.program.url, ca, path, ...passport })
      expect(new TextDecoder().decode(await readWith(both))).toBe(secret)
      await expect(readWith(before)).rejects.toThrow()
      await renew(trustee2, '--forget', 'ca')
      expect(await read()).toBe(secret)
    }, 60_000)

    it("the administrator's: both keys count until the old one is forgotten", async () => {
      const setPolicy = () => follow('set-resource-policy')
      const formerToken = file('trustee2/admin-token')
      await renew(trustee2, '--renew', 'admin')
      await trustee2.restartProgram()
      await setPolicy()
      await follow('secrets/trustee2/offline/admin.key')
      await renew(trustee2, '--forget', 'admin')
      await trustee2.restartProgram()
      await setPolicy()
      writeFileSync(join(place, 'docker/secrets/trustee2/admin-token'), formerToken)
      await expect(setPolicy()).rejects.toThrow()
    }, 30_000)
  })
})

describe.skipIf(!redisAvailable())('the attestation service of docs/deploy-compose.md', () => {
  const place = mkdtempSync(join(tmpdir(), 'kbs-deploy-'))
  const service = new ComposeProcesses('attestation-service', 'attestation-service', place)
  let trustee1: Organisation
  let kbs1: Program

  const file = (name: string) => join(place, 'docker/secrets/attestation-service', name)
  /** The page's configuration of KBS1, with the addresses and files of here. */
  const asked = async () => {
    const block = [...page.matchAll(/```toml\n(.*?)```/gs)]
      .map(([, text = '']) => text)
      .find((text) => /as_addr/.test(text))
    const line = await service.program.logged(({ grpc }) => Array.isArray(grpc))
    const text = (block ?? '')
      .replace('https://as.example:50004', String((line.grpc as readonly string[])[0]))
      .replace('https://as.example:8083', service.program.url)
      .replace('/run/secrets/as_ca', file('ca.pem'))
      .replace('/run/secrets/as_token', file('client.token'))
    return parseToml(text)
  }
  const attest = () => createGuest({ kbsUrl: kbs1.url, attester: sampleAttester() }).attestOnce()

  beforeAll(async () => {
    expect(await service.init()).toMatchObject({ code: 0 })
    await service.up()
    trustee1 = await createOrganisation('trustee-1')
    kbs1 = await trustee1.start('kbs-attest', {
      profile: 'development',
      http_server: plainHttp,
      admin: trustee1.admin.config,
      ...(await asked()),
    })
  }, 60_000)
  afterAll(async () => {
    await trustee1?.close()
    await service.down()
    rmSync(place, { recursive: true })
  }, 30_000)

  it('answers a KBS1 that has its CA and its token: a guest gets a passport', async () => {
    const { token } = await attest()
    const { x5c } = headerOf(token).jwk as { readonly x5c: unknown }
    const chain = (x5c as readonly string[]).map((der) => new X509Certificate(Buffer.from(der, 'base64')))
    const ca = new X509Certificate(readFileSync(file('token-ca.pem')))
    expect(chain[0]?.verify(ca.publicKey)).toBe(true)
  })

  it('answers nobody who has no token', async () => {
    const url = `${service.program.url}/attestation`
    const body = JSON.stringify({ verification_requests: [], policy_ids: [] })
    expect(await ask(url, file('ca.pem'), body)).toMatch(/^401 /)
  })

  it('takes a new token of its client', async () => {
    expect(await service.init('--renew', 'client')).toMatchObject({ code: 0 })
    expect(await service.init('--forget', 'client')).toMatchObject({ code: 0 })
    await service.restartProgram()
    await kbs1.stop()
    kbs1 = await trustee1.start('kbs-attest', {
      profile: 'development',
      http_server: plainHttp,
      admin: trustee1.admin.config,
      ...(await asked()),
    })
    expect((await attest()).token).toMatch(/^ey/)
  }, 30_000)
})

/** Status and body of an answer, from a client that trusts this CA. @param body of a POST */
async function ask(url: string, caFile: string, body?: string): Promise<string> {
  const script = `const [url, body] = process.argv.slice(1)
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(url, body ? { method: 'POST', headers, body } : {})
    console.log(answer.status, await answer.text())`
  const args = ['--input-type=module', '-e', script, url, ...(body === undefined ? [] : [body])]
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: caFile }
  return (await promisify(execFile)(process.execPath, args, { env })).stdout
}

/** A program notices within a moment that Redis is back. */
async function eventually(check: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + 10_000
  for (;;) {
    try {
      await check()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((done) => setTimeout(done, 200))
    }
  }
}
