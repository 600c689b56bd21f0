import { createPrivateKey, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { CompactSign } from 'jose'
import { parse as parseToml, stringify as stringifyToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { containersAvailable } from '../src/containers/availability.ts'
import { connectFrom, type Guest, startGuest } from '../src/containers/guest.ts'
import type { Fetched, TeeDescription } from '../src/containers/guest-program.ts'
import { redisImage } from '../src/containers/image.ts'
import type { Machine } from '../src/containers/machine.ts'
import { writableTargets } from '../src/containers/mounts.ts'
import { createSite, type Site } from '../src/containers/site.ts'
import { createWire, type Wire } from '../src/containers/wire.ts'
import { claimsOf, headerOf } from '../src/handshake.ts'
import { vectorsFolder } from '../src/vectors.ts'

const recordedEvidence = new URL('snp/evidence-milan-v3.json', vectorsFolder())
const hasVectors = existsSync(recordedEvidence)
if (!hasVectors && process.env.CI === 'true') throw new Error('no vectors: set KBS_VECTORS')
if (!hasVectors) console.warn('SKIPPED: no recorded evidence; set KBS_VECTORS to the vectors folder')

/**
 * The compose files as they are: their commands, users, mounts, secrets, networks and health checks, run by crun in
 * place of a container engine. Each Trustee is a machine with a network of its own, the guest a third.
 */
describe.skipIf(!containersAvailable())('the compose files, brought up', { timeout: 60_000 }, () => {
  let wire: Wire
  let trustee1: Trustee
  let trustee2: Trustee
  let backgroundCheck: Trustee
  let attestationService: Site
  let guest: Guest
  let guestMachine: Machine
  let tee: TeeDescription

  beforeAll(async () => {
    wire = await createWire({ redis: await redisImage() })
    const [first, second, both, service] = await Promise.all([
      createSite(wire, { where: 'trustee1', service: 'kbs-attest', dns: 'trustee1.example' }),
      createSite(wire, { where: 'trustee2', service: 'kbs-resource', dns: 'trustee2.example' }),
      createSite(wire, { where: 'background-check', service: 'kbs', dns: 'kbs.example' }),
      createSite(wire, { where: 'attestation-service', service: 'attestation-service', dns: 'as.example' }),
    ])
    guestMachine = await wire.addMachine('guest')
    guest = await startGuest(guestMachine)
    await first.init()
    await Promise.all([second.init(), both.init(), service.init()])
    // all that goes from Trustee 1 to Trustee 2
    await second.write('docker/secrets/received/trustee1-ca.pem', await first.read(tokenCa))
    const received = '/secrets/received/trustee1-ca.pem'
    await second.init('--renew', 'trustee1-ca', '--trustee1-ca', received)
    await Promise.all([first, second, both, service].map((site) => site.project.up()))
    trustee1 = await administered(first, 'trustee1', 'https://trustee1.example:8081', 'trustee1')
    trustee2 = await administered(second, 'trustee2', 'https://trustee2.example:8082', 'trustee2')
    backgroundCheck = await administered(both, 'background-check', 'https://kbs.example:8080', 'kbs')
    attestationService = service
    tee = await guest.ask('describe', { tee: 'snp' })
  }, 180_000)
  afterAll(() => wire?.close(), 60_000)

  const sites = () => [
    trustee1,
    trustee2,
    backgroundCheck,
    { site: attestationService, where: 'attestation-service' },
  ]
  const attest = ({ url, ca }: Trustee) => guest.ask('attest', { tee: 'snp', url, ca })
  const passport = async () => tokenOf(await attest(trustee1))
  const read = (token: string, path: string, keyOf?: string) =>
    guest.ask('read', {
      ...{ url: trustee2.url, ca: trustee2.ca, path, token },
      ...(keyOf === undefined ? {} : { keyOf }),
    })
  const administrate = ({ url, ca, adminToken }: Trustee, path: string, body: string) =>
    guest.ask('fetch', {
      ...{ url: `${url}/kbs/v0/${path}`, ca, method: 'POST', body },
      headers: { authorization: `Bearer ${adminToken}` },
    })

  describe('as they are', () => {
    it('`init` makes secrets that are the operator’s, and no second time', async () => {
      const { site, where } = trustee1
      const before = await site.read(`docker/secrets/${where}/tls.key`)
      const again = await site.init()
      expect(again.code, again.stdout).toBe(1)
      expect(again.stdout).toContain('nothing was written')
      expect(await site.read(`docker/secrets/${where}/tls.key`)).toBe(before)
    })

    it('every program says that it listens, in the production profile, and warns of nothing', async () => {
      for (const { site } of sites()) {
        const log = site.program().log()
        expect(log).toContainEqual(expect.objectContaining({ msg: 'listening', profile: 'production' }))
        expect(log.filter(({ level }) => level !== 'info')).toEqual([])
      }
    })

    it('every program runs as the operator, without capabilities, and can write to what is named and nowhere else', async () => {
      for (const { site } of sites()) {
        const redis = site.project.container('redis')
        for (const [container, writable] of [
          [site.program(), ['/tmp']],
          [redis, ['/data']],
        ] as const) {
          const status = await container.proc('status')
          expect(status).toMatch(/^Uid:\t1234\t1234\t1234\t1234$/m)
          expect(status).toMatch(/^Gid:\t1234\t1234\t1234\t1234$/m)
          for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
            expect(status).toMatch(new RegExp(`^${set}:\t0{16}$`, 'm'))
          expect(status).toMatch(/^NoNewPrivs:\t1$/m)
          expect(writableTargets(await container.proc('mountinfo'))).toEqual(writable)
        }
      }
    })

    it('programs have the environment of image and compose file, and nothing else', async () => {
      for (const { site } of sites()) {
        const environment = (await site.program().proc('environ')).split('\0').filter((pair) => pair !== '')
        expect(environment.map((pair) => pair.split('=')[0]).sort()).toEqual([
          ...['HOME', 'HOSTNAME', 'NODE_ENV', 'PATH', 'SSL_CERT_FILE'],
        ])
      }
    })

    it('the operator’s secrets are in no environment, command line or log', async () => {
      for (const { site, where } of sites()) {
        const password = (await site.read(`docker/secrets/${where}/redis.password`)).trim()
        for (const container of [site.program(), site.project.container('redis')]) {
          const seen = [await container.proc('environ'), await container.proc('cmdline'), container.output()]
          expect(seen.join('\n')).not.toContain(password)
        }
      }
    })

    it('guests reach the published port; Redis is reached by its own program and by nobody else', async () => {
      const from = async ({ site }: Trustee, service: string, host: string, port: number) =>
        connectFrom(site.machine, host, port, await site.project.network(service))
      const store = await trustee1.site.project.address('redis', 'store')
      const world = trustee2.site.machine.address
      const [one, two, redis] = ['kbs-attest', 'kbs-resource', 'redis'] as const
      const unreachable = expect.stringMatching(/^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/)
      expect(
        await Promise.all([
          connectFrom(guestMachine, 'trustee1.example', 8081),
          from(trustee1, one, store, 6379),
          connectFrom(guestMachine, store, 6379),
          from(trustee2, two, store, 6379),
          // the program has a way out, its Redis has none
          from(trustee1, one, world, 8082),
          from(trustee1, redis, world, 8082),
        ]),
      ).toEqual(['connected', 'connected', unreachable, unreachable, 'connected', unreachable])
    })

    it('Redis speaks TLS only, with its one user only, who may do no more than the program needs', async () => {
      const redis = trustee1.site.project.container('redis')
      const password = (await trustee1.site.read('docker/secrets/trustee1/redis.password')).trim()
      const tls = ['--tls', '--cacert', '/run/secrets/tls_ca']
      const user = ['--user', 'kbs', '--pass', password, '--no-auth-warning']
      const answer = async (...args: string[]) => {
        const { stdout, stderr } = await redis.exec(['redis-cli', ...args])
        return (stdout + stderr).trim()
      }
      expect(await answer(...tls, ...user, 'ping')).toBe('PONG')
      expect(await answer('ping')).toMatch(/^(Error|I\/O error)/)
      expect(await answer(...tls, 'ping')).toMatch(/^NOAUTH/)
      expect(await answer(...tls, ...user, 'config', 'get', '*')).toMatch(/^NOPERM/)
      expect(await answer(...tls, ...user, 'get', 'elsewhere')).toMatch(/^NOPERM/)
    })

    it('KBS1 trusts the vendors’ roots only: evidence of a virtual machine is refused, and the log says why', async () => {
      for (const trustee of [trustee1, backgroundCheck]) {
        expect(await attest(trustee)).toEqual({
          refusal: {
            code: 'handshake-failed',
            status: 401,
            information: {
              type: 'https://github.com/confidential-containers/kbs/errors/AttestationError',
              detail: 'Attestation error: RCAR handshake Attest failed',
            },
          },
        })
        const denial = trustee.site
          .program()
          .log()
          .findLast((line) => line.event === 'attestation')
        expect(denial).toMatchObject({
          decision: 'denied',
          tee: 'snp',
          reason: expect.stringContaining('certificate-chain'),
        })
      }
    })

    it.skipIf(!hasVectors)(
      'KBS1 trusts AMD: recorded evidence of a real machine is wrong in nothing but that it is an answer to another nonce',
      async () => {
        const { url, ca, site } = trustee1
        const evidence = JSON.parse(readFileSync(recordedEvidence, 'utf8'))
        const refused = await guest.ask('attest', { tee: 'snp', url, ca, evidence })
        expect(refused).toMatchObject({ refusal: { code: 'handshake-failed', status: 401 } })
        const denial = site
          .program()
          .log()
          .findLast((line) => line.event === 'attestation')
        expect(denial).toMatchObject({ reason: expect.stringMatching(/^report-data: REPORT_DATA_MISMATCH/) })
      },
    )

    it('KBS1 publishes the keys that its chain vouches for', async () => {
      const answer = await guest.ask('fetch', {
        url: `${trustee1.url}/.well-known/jwks.json`,
        ca: trustee1.ca,
      })
      expect(answer).toMatchObject({ status: 200 })
      const { keys } = JSON.parse('body' in answer ? answer.body : '') as { keys: { x5c: string[] }[] }
      const ca = (await trustee1.site.read(tokenCa)).replaceAll(/-----[^-]+-----|\n/g, '')
      expect(keys.map(({ x5c }) => x5c.at(-1))).toEqual([ca])
    })

    it('administrators set policies and secrets with kbsctl, each at their own Trustee only', async () => {
      const { site, kbsctl } = trustee2
      await site.write('docker/secrets/secret', 'the secret of Trustee 2')
      const policy = await kbsctl('set-resource-policy', '--affirming')
      expect(policy.code, policy.stderr).toBe(0)
      const resource = await kbsctl(
        ...['set-resource', '--path', secretPath, '--resource-file', 'docker/secrets/secret'],
      )
      expect(resource.code, resource.stderr).toBe(0)
      const foreign = { ...trustee2, adminToken: trustee1.adminToken }
      expect(await administrate(foreign, 'resource-policy', '{}')).toMatchObject({ status: 401 })
    })

    it('the attestation service is there for whoever has the token that `init` made, and for nobody else', async () => {
      const secrets = 'docker/secrets/attestation-service'
      const ca = await attestationService.read(`${secrets}/ca.pem`)
      const token = (await attestationService.read(`${secrets}/client.token`)).trim()
      const ask = (headers: Record<string, string>) =>
        guest.ask('fetch', { url: 'https://as.example:8083/policy', ca, headers })
      expect(await ask({ authorization: `Bearer ${token}` })).toMatchObject({ status: 200 })
      expect(await ask({ authorization: `Bearer ${token}x` })).toMatchObject({ status: 401 })
      expect(await ask({})).toMatchObject({ status: 401 })
      expect(await connectFrom(guestMachine, 'as.example', 50_004)).toBe('connected')
    })

    it('KBS2 releases nothing without a passport of Trustee 1', async () => {
      for (const headers of [{}, { authorization: 'Bearer x.y.z' }]) {
        const url = `${trustee2.url}/kbs/v0/resource/${secretPath}`
        expect(await guest.ask('fetch', { url, ca: trustee2.ca, headers })).toMatchObject({ status: 401 })
      }
    })
  })

  describe('with the virtual vendor’s roots at those who attest', () => {
    beforeAll(async () => {
      const withVirtualVendor = async (trustee: Trustee) => {
        for (const [name, pem] of Object.entries(tee.roots))
          await trustee.site.write(`docker/roots/${name}`, pem)
        expect(await trustee.configure(virtualVendor)).toEqual([
          'attestation_service.verifier_config.snp_verifier.crl_policy',
          'attestation_service.verifier_config.snp_verifier.trusted_roots',
          'attestation_service.verifier_config.snp_verifier.vcek_sources',
          'profile',
        ])
        await trustee.site.project.recreate(
          trustee.site.model({ [trustee.site.program().name]: ['./roots:/etc/passport-kbs/roots:ro'] }),
        )
        const payload = Buffer.from(JSON.stringify(tee.referenceValues)).toString('base64')
        const values = JSON.stringify({ version: '0.1.0', type: 'sample', payload })
        expect(await administrate(trustee, 'reference-value', values)).toMatchObject({ status: 200 })
      }
      await Promise.all([trustee1, backgroundCheck].map(withVirtualVendor))
    }, 120_000)

    it('Trustee 2, its files as they are, refuses what a KBS1 in the development profile has minted', async () => {
      const refusal = await read(await passport(), secretPath)
      expect(refusal).toMatchObject({ refusal: { status: 401 } })
      const denial = trustee2.site
        .program()
        .log()
        .findLast((line) => line.audit === true)
      expect(denial).toMatchObject({ reason: expect.stringMatching(/^development-only: /) })
    })

    it('Trustee 2, its files as they are, releases the secret for the same passport without the mark, signed by Trustee 1’s key', async () => {
      const token = await passport()
      const { 'passport-kbs.profile': mark, ...claims } = claimsOf(token)
      expect(mark).toBe('development')
      const key = createPrivateKey(await trustee1.site.read('docker/secrets/trustee1/token.key'))
      const unmarked = await new CompactSign(Buffer.from(JSON.stringify(claims)))
        .setProtectedHeader(headerOf(token) as { alg: string })
        .sign(key)
      expect(await read(unmarked, secretPath, token)).toEqual({
        secret: Buffer.from('the secret of Trustee 2').toString('base64'),
      })
    })

    it('background check releases its secret in one session', async () => {
      const { site, kbsctl, url, ca } = backgroundCheck
      await site.write('docker/secrets/secret', 'the secret of both')
      expect((await kbsctl('set-resource-policy', '--affirming')).code).toBe(0)
      const resource = await kbsctl(
        ...['set-resource', '--path', secretPath, '--resource-file', 'docker/secrets/secret'],
      )
      expect(resource.code, resource.stderr).toBe(0)
      expect(await guest.ask('readInSession', { tee: 'snp', url, ca, path: secretPath })).toEqual({
        secret: Buffer.from('the secret of both').toString('base64'),
      })
    })

    describe('and a Trustee 2 in the development profile', () => {
      beforeAll(async () => {
        expect(await trustee2.configure({ profile: 'development' })).toEqual(['profile'])
        await trustee2.site.project.recreate(trustee2.site.model())
      }, 60_000)

      const released = { secret: Buffer.from('the secret of Trustee 2').toString('base64') }

      it('the passport flow goes from the guest’s first request to the decrypted secret', async () => {
        expect(await read(await passport(), secretPath)).toEqual(released)
      })

      it('a session outlives the program that opened it: KBS1 is killed between the two requests of a handshake', async () => {
        const { url, ca, site } = trustee1
        const seen = site.program().log().length
        const attested = guest.ask('attest', { tee: 'snp', url, ca, pauses: true })
        await expect
          .poll(() =>
            site
              .program()
              .log()
              .slice(seen)
              .some((line) => line.plugin === 'auth'),
          )
          .toBe(true)
        await site.program().crash()
        await site.program().healthy()
        await guest.ask('resume', {})
        expect(await read(tokenOf(await attested), secretPath)).toEqual(released)
      })

      it('a secret outlives the program that stored it', async () => {
        const token = await passport()
        const program = trustee2.site.program()
        const starts = program.starts()
        await program.crash()
        await program.healthy()
        expect(program.starts()).toBe(starts + 1)
        expect(await read(token, secretPath)).toEqual(released)
      })

      it('`init --renew`, a restart and `rewrap` change keys under a secret that is there to stay', async () => {
        const { site, url, ca } = trustee2
        const token = await passport()
        const certificate = async () => {
          const answer = await guest.ask('fetch', { url: `${url}/readyz`, ca })
          return 'certificate' in answer ? answer.certificate : answer.error
        }
        const former = await certificate()
        const formerKey = await site.read('docker/secrets/trustee2/storage.key')
        for (const item of ['tls', 'storage']) {
          const renewed = await site.init('--renew', item)
          expect(renewed.code, renewed.stdout).toBe(0)
        }
        expect(await site.read('docker/secrets/trustee2/storage.key')).not.toBe(formerKey)
        await site.project.restart('kbs-resource')
        expect(await certificate()).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/)
        expect(await certificate()).not.toBe(former)

        const rewrapped = await site.project.run('rewrap')
        expect(rewrapped.code, rewrapped.stdout).toBe(0)
        expect(await read(token, secretPath)).toEqual(released)
      })

      it('a new password of Redis goes in without a refusal: first Redis has both, then the program the new one', async () => {
        const { site } = trustee2
        const token = await passport()
        const renewed = await site.init('--renew', 'redis')
        expect(renewed.code, renewed.stdout).toBe(0)
        await site.project.restart('redis')
        await site.program().healthy()
        expect(await read(token, secretPath)).toEqual(released)
        await site.project.restart('kbs-resource')
        expect((await site.init('--forget', 'redis')).code).toBe(0)
        await site.project.restart('redis')
        await site.program().healthy()
        expect(await read(token, secretPath)).toEqual(released)
      })

      it('Redis, killed in the middle of writes, has each that was acknowledged', async () => {
        const token = await passport()
        const redis = trustee2.site.project.container('redis')
        const secrets = Array.from({ length: 30 }, () => randomBytes(32).toString('hex'))
        const writes = secrets.map(async (secret, index) => {
          const path = `default/outage/${index}`
          return [path, secret, await administrate(trustee2, `resource/${path}`, secret)] as const
        })
        await writes[5]
        await redis.crash()
        const acknowledged = (await Promise.all(writes)).filter(([, , answer]) => isDone(answer))
        expect(acknowledged.length).toBeGreaterThan(0)
        await redis.healthy()
        await trustee2.site.program().healthy()
        for (const [path, secret] of acknowledged)
          expect(await read(token, path), path).toEqual({ secret: Buffer.from(secret).toString('base64') })
      })

      it('without Redis the program is unhealthy; when Redis is back it is well again by itself', async () => {
        const token = await passport()
        const program = trustee2.site.program()
        const starts = program.starts()
        await trustee2.site.project.container('redis').stop()
        expect(await program.isHealthy()).toBe(false)
        expect(await read(token, secretPath)).toMatchObject({ refusal: { status: 503 } })
        await trustee2.site.project.restart('redis')
        await program.healthy()
        expect(await read(token, secretPath)).toEqual(released)
        expect(program.starts()).toBe(starts)
      })

      it('Trustee 2 needs nothing of Trustee 1 but the file: its plug pulled, passports count, also after a restart', async () => {
        const token = await passport()
        await wire.cut(trustee1.site.machine)
        try {
          expect(await connectFrom(guestMachine, 'trustee1.example', 8081)).not.toBe('connected')
          expect(await read(token, secretPath)).toEqual(released)
          await trustee2.site.program().crash()
          await trustee2.site.program().healthy()
          expect(await read(token, secretPath)).toEqual(released)
        } finally {
          await wire.mend(trustee1.site.machine)
        }
        expect(await attest(trustee1)).toHaveProperty('token')
      })

      it('everything stops in good order when it is told to', async () => {
        const codes = sites().map(async ({ site }) => [
          await site.program().stop(),
          await site.project.container('redis').stop(),
        ])
        expect(await Promise.all(codes)).toEqual(sites().map(() => [0, 0]))
      })
    })
  })
})

const secretPath = 'default/test/key'
/** Trustee 1's CA for passports. */
const tokenCa = 'docker/secrets/trustee1/token-ca.pem'

/** What these tests change in a configuration, for no virtual machine has a vendor's certificate. */
const virtualVendor: Settings = {
  profile: 'development',
  attestation_service: {
    verifier_config: {
      snp_verifier: {
        trusted_roots: '/etc/passport-kbs/roots',
        // all certificates come with the evidence; nothing is fetched
        vcek_sources: [{ type: 'OfflineStore', path: '/tmp/vcek' }],
        crl_policy: 'off',
      },
    },
  },
}

type Settings = { readonly [key: string]: unknown }

/** A site with its administrator. */
interface Trustee {
  readonly site: Site
  /** As in the names of its files. */
  readonly where: string
  /** As guests know it. */
  readonly url: string
  /** What its clients trust. */
  readonly ca: string
  readonly adminToken: string
  /** `kbsctl config …` with the administrator's token, on the machine itself. */
  readonly kbsctl: (...args: readonly string[]) => ReturnType<Site['kbsctl']>
  /** Puts settings into the configuration file, and answers which of its keys are other than before. */
  readonly configure: (settings: Settings) => Promise<readonly string[]>
}

async function administered(site: Site, where: string, url: string, audience: string): Promise<Trustee> {
  const secrets = `docker/secrets/${where}`
  const tokenFile = `${secrets}/admin-token`
  const { code, stdout, stderr } = await site.kbsctl(
    ...['admin-token', '--key', `${secrets}/offline/admin.key`, '--role', 'admin', '--issuer', 'admin'],
    ...['--audience', audience],
  )
  expect(code, stderr).toBe(0)
  await site.write(tokenFile, stdout)
  const configFile = `docker/config/${where}.toml`
  return {
    site,
    where,
    url,
    ca: await site.read(`${secrets}/ca.pem`),
    adminToken: stdout.trim(),
    kbsctl: (...args) =>
      site.kbsctl(
        ...['--url', `https://localhost:${new URL(url).port}`, '--cert-file', `${secrets}/ca.pem`],
        ...['config', '--admin-token-file', tokenFile, ...args],
      ),
    async configure(settings) {
      const before = parseToml(await site.read(configFile))
      const after = merged(before, settings)
      await site.write(configFile, stringifyToml(after))
      return differences(before, after)
    },
  }
}

function merged(base: Settings, over: Settings): Settings {
  const isTable = (value: unknown): value is Settings =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const entries = Object.entries(over).map(([key, value]) => {
    const former = base[key]
    return [key, isTable(value) ? merged(isTable(former) ? former : {}, value) : value] as const
  })
  return { ...base, ...Object.fromEntries(entries) }
}

/** Paths of the keys that are not the same in both, sorted. */
function differences(before: Settings, after: Settings): readonly string[] {
  const [former, present] = [new Map(settingsIn(before)), new Map(settingsIn(after))]
  const paths = new Set([...former.keys(), ...present.keys()])
  return [...paths].filter((path) => former.get(path) !== present.get(path)).sort()
}

function settingsIn(table: Settings, prefix = ''): readonly (readonly [string, string])[] {
  return Object.entries(table).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? settingsIn(value as Settings, `${prefix}${key}.`)
      : [[prefix + key, JSON.stringify(value)] as const],
  )
}

function tokenOf(attested: { readonly token: string } | { readonly refusal: unknown }): string {
  if ('refusal' in attested) throw new Error(`no passport: ${JSON.stringify(attested.refusal)}`)
  return attested.token
}

function isDone(answer: Fetched): boolean {
  return 'status' in answer && answer.status === 200
}
