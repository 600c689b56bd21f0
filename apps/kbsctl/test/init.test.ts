import { spawnSync } from 'node:child_process'
import { createHash, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeCertificate } from '@passport-kbs/testing/tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../src/index.ts'
import type { Outcome } from './kbsctl.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-init-'))
})
afterAll(() => rm(folder, { recursive: true }))

const file = (...names: string[]) => join(folder, ...names)
const text = (...names: string[]) => readFile(file(...names), 'utf8')
const modeOf = async (...names: string[]) => (await stat(file(...names))).mode & 0o777
const init = (program: string, directory: string, ...args: string[]) =>
  kbsctl('init', '--program', program, '--directory', directory, ...args)
const make = async (program: string, directory: string, ...args: string[]) => {
  const outcome = await init(program, directory, '--dns', 'localhost', ...args)
  expect(outcome).toMatchObject({ status: 0 })
  return outcome
}

/** A command of kbsctl in this process, for there are many. */
function kbsctl(...args: string[]): Promise<Outcome> {
  return kbsctlAt(new Date(), ...args)
}

async function kbsctlAt(now: Date, ...args: string[]): Promise<Outcome> {
  const written = { stdout: '', stderr: '' }
  const status = await run(args, {
    out: (line) => {
      written.stdout += `${line}\n`
    },
    err: (line) => {
      written.stderr += `${line}\n`
    },
    env: {},
    cwd: folder,
    now: () => now,
  })
  return { status, ...written }
}

/** Every file below a directory with its content. */
async function contentOf(directory: string): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(
    await Promise.all(
      files.map(async (path) => [path.slice(directory.length + 1), await readFile(path, 'utf8')] as const),
    ),
  )
}

function certificates(pem: string): readonly X509Certificate[] {
  return (pem.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []).map(
    (block) => new X509Certificate(block),
  )
}

function certificate(pem: string): X509Certificate {
  const [first] = certificates(pem)
  if (first === undefined) throw new Error('no certificate')
  return first
}

const everywhere = [
  ...['ca.pem', 'offline/ca.key', 'tls.key', 'tls.pem'],
  ...['redis.acl', 'redis.key', 'redis.password', 'redis.pem'],
]
const admin = ['admin.pub.pem', 'offline/admin.key']
const token = ['offline/token-ca.key', 'token-ca.pem', 'token-chain.pem', 'token.key']
const storage = ['storage-previous.key', 'storage.key']

describe('init', () => {
  describe.each([
    ['kbs-attest', [...everywhere, ...admin, ...token]],
    ['kbs-resource', [...everywhere, ...admin, ...storage]],
    ['kbs', [...everywhere, ...admin, ...token, ...storage]],
    ['attestation-service', [...everywhere, ...token, 'client-accepted.tokens', 'client.token']],
  ])('for %s', (program, expected) => {
    it('makes exactly what it needs, prints the names, and no secret', async () => {
      const { stdout, stderr } = await make(program, program)
      const files = await contentOf(file(program))
      expect([...files.keys()].sort()).toEqual([...expected].sort())
      expect(stdout.trimEnd().split('\n').sort()).toEqual(expected.map((name) => file(program, name)).sort())
      for (const [name, content] of files) {
        if (name.endsWith('.pem')) continue
        for (const line of content.split('\n').filter((one) => one.length > 20))
          expect(stdout + stderr).not.toContain(line)
      }
    })

    it('makes directories and secrets for their owner alone, certificates for all', async () => {
      expect(await modeOf(program)).toBe(0o700)
      expect(await modeOf(program, 'offline')).toBe(0o700)
      for (const name of expected) {
        expect([name, await modeOf(program, name)]).toEqual([name, name.endsWith('.pem') ? 0o644 : 0o600])
      }
    })
  })

  it.each(['000', '022', '077'])('does so under umask %s', async (umask) => {
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
    const directory = `umask-${umask}`
    const args = ['init', '--program', 'kbs-attest', '--directory', directory, '--dns', 'localhost']
    const run = spawnSync('sh', ['-c', `umask ${umask}; exec "$0" "$@"`, process.execPath, main, ...args], {
      cwd: folder,
    })
    expect(run.status).toBe(0)
    expect([await modeOf(directory), await modeOf(directory, 'offline')]).toEqual([0o700, 0o700])
    expect([await modeOf(directory, 'tls.key'), await modeOf(directory, 'tls.pem')]).toEqual([0o600, 0o644])
  })

  it('makes each secret anew', async () => {
    await make('kbs', 'twice-1')
    await make('kbs', 'twice-2')
    const [first, second] = [await contentOf(file('twice-1')), await contentOf(file('twice-2'))]
    for (const [name, content] of first) expect(second.get(name), name).not.toBe(content)
  })

  it('puts what no server needs where it is told', async () => {
    await make('kbs', 'served', '--offline', 'vault/kbs')
    expect((await readdir(file('vault/kbs'))).sort()).toEqual(['admin.key', 'ca.key', 'token-ca.key'])
    expect(await readdir(file('served'))).not.toContain('offline')
  })

  it("makes a directory for Redis's data, for its owner alone; one that is there stays", async () => {
    await make('kbs', 'with-data', '--redis-data', 'data/kbs')
    expect(await modeOf('data/kbs')).toBe(0o700)
    await writeFile(file('data/kbs/appendonly'), 'precious')
    await make('kbs', 'with-data-2', '--redis-data', 'data/kbs')
    expect(await text('data/kbs/appendonly')).toBe('precious')
  })

  it('says what comes next', async () => {
    expect((await make('kbs-attest', 'next-1')).stderr).toContain(
      `Hand ${file('next-1/token-ca.pem')} to Trustee 2`,
    )
    expect((await make('kbs-resource', 'next-2')).stderr).toMatch(
      /Missing: .*next-2\/trustee1-ca\.pem\. Ask Trustee 1 for its token-ca\.pem, then: kbsctl init .* --renew trustee1-ca --trustee1-ca FILE/,
    )
    expect((await make('kbs', 'next-3')).stderr).not.toContain('Missing')
  })
})

describe('its certificates', () => {
  const names = ['--dns', 'kbs.example, *.KBS.example', '--dns', 'localhost', '--ip', '127.0.0.1,fd00:0:0::1']
  beforeAll(async () => {
    expect(await init('kbs', 'pki', ...names, '--days', '30', '--ca-days', '40')).toMatchObject({ status: 0 })
  })
  const read = async (name: string) => certificate(await text('pki', name))

  it('are for the names that were given', async () => {
    const tls = await read('tls.pem')
    for (const name of ['kbs.example', 'a.kbs.example', 'localhost'])
      expect(tls.checkHost(name)).toBeDefined()
    for (const ip of ['127.0.0.1', 'fd00::1']) expect(tls.checkIP(ip)).toBeDefined()
    expect(tls.checkHost('redis')).toBeUndefined()
    expect((await read('redis.pem')).checkHost('redis')).toBeDefined()
  })

  it('count from a little before now for as long as was said, leaves never longer than their CA', async () => {
    const day = 86_400_000
    const [ca, tls, signer] = [await read('ca.pem'), await read('tls.pem'), await read('token-chain.pem')]
    expect(Math.abs(ca.validToDate.getTime() - Date.now() - 40 * day)).toBeLessThan(60_000)
    for (const leaf of [tls, signer])
      expect(Math.abs(leaf.validToDate.getTime() - Date.now() - 30 * day)).toBeLessThan(60_000)
    expect(Date.now() - tls.validFromDate.getTime()).toBeGreaterThan(290_000)
    await make('kbs', 'short-ca', '--days', '365', '--ca-days', '10')
    const [shortCa, leaf] = [
      certificate(await text('short-ca/ca.pem')),
      certificate(await text('short-ca/tls.pem')),
    ]
    expect(leaf.validToDate).toEqual(shortCa.validToDate)
  })

  it('are of the keys beside them, on P-256', async () => {
    for (const name of ['tls', 'redis', 'token']) {
      const key = createPrivateKey(await text('pki', `${name}.key`))
      expect(key.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
      expect((await read(name === 'token' ? 'token-chain.pem' : `${name}.pem`)).checkPrivateKey(key)).toBe(
        true,
      )
    }
    const key = createPrivateKey(await text('pki/offline/admin.key'))
    expect(key.asymmetricKeyType).toBe('ed25519')
    expect(createPublicKey(key).export({ format: 'pem', type: 'spki' })).toBe(await text('pki/admin.pub.pem'))
  })

  it('keep the CA of servers and the CA of passports apart: neither vouches for what is the other’s', async () => {
    const [tlsCa, tokenCa] = [await read('ca.pem'), await read('token-ca.pem')]
    const [tls, signer] = [await read('tls.pem'), await read('token-chain.pem')]
    expect([tlsCa.ca, tokenCa.ca, tls.ca, signer.ca]).toEqual([true, true, false, false])
    expect([tls.verify(tlsCa.publicKey), tls.verify(tokenCa.publicKey)]).toEqual([true, false])
    expect([signer.verify(tokenCa.publicKey), signer.verify(tlsCa.publicKey)]).toEqual([true, false])
    expect(certificates(await text('pki/token-chain.pem'))).toHaveLength(2)
  })

  describe.skipIf(!opensslAvailable())('as OpenSSL sees them', () => {
    const verify = (...args: string[]) => {
      const run = spawnSync('openssl', ['verify', '-x509_strict', ...args], {
        cwd: file('pki'),
        encoding: 'utf8',
      })
      return `${run.stdout}${run.stderr}`.trim()
    }
    it('verify strictly, for their purpose and names', () => {
      const server = ['-purpose', 'sslserver', '-CAfile', 'ca.pem']
      expect(verify(...server, '-verify_hostname', 'a.kbs.example', 'tls.pem')).toBe('tls.pem: OK')
      expect(verify(...server, '-verify_ip', 'fd00::1', 'tls.pem')).toBe('tls.pem: OK')
      expect(verify(...server, '-verify_hostname', 'redis', 'redis.pem')).toBe('redis.pem: OK')
      expect(verify('-CAfile', 'token-ca.pem', 'token-chain.pem')).toBe('token-chain.pem: OK')
    })

    it('do not verify for another name, or under the other CA', () => {
      expect(verify('-CAfile', 'ca.pem', '-verify_hostname', 'stranger.example', 'tls.pem')).toContain(
        'mismatch',
      )
      expect(verify('-CAfile', 'token-ca.pem', 'tls.pem')).toContain('verification failed')
      expect(verify('-purpose', 'sslserver', '-CAfile', 'ca.pem', 'token-chain.pem')).toContain(
        'verification failed',
      )
    })
  })
})

describe('init writes all or nothing', () => {
  it('never over what is there: it names the files and the way out', async () => {
    await make('kbs-attest', 'again')
    const before = await contentOf(file('again'))
    const { status, stdout, stderr } = await init('kbs-attest', 'again', '--dns', 'localhost')
    expect([status, stdout]).toEqual([1, ''])
    for (const name of before.keys()) expect(stderr).toContain(file('again', name))
    expect(stderr).toContain('nothing was written')
    expect(stderr).toContain('--renew')
    expect(await contentOf(file('again'))).toEqual(before)
  })

  it('nor beside a single file that is there, be it a link to nowhere', async () => {
    await mkdir(file('partly'), { mode: 0o700 })
    await symlink('/nowhere/at/all', file('partly/redis.acl'))
    const { status, stderr } = await init('kbs', 'partly', '--dns', 'localhost')
    expect([status, stderr.includes(file('partly/redis.acl')), stderr.includes('tls.key')]).toEqual([
      1,
      true,
      false,
    ])
    expect(await readdir(file('partly'))).toEqual(['redis.acl'])
  })

  it('nothing where another init runs, or one was interrupted', async () => {
    await mkdir(file('interrupted'), { mode: 0o700 })
    await writeFile(file('interrupted/.token.key.new'), '')
    const { status, stderr } = await init('kbs', 'interrupted', '--dns', 'localhost')
    expect(status).toBe(1)
    expect(stderr).toContain(`${file('interrupted/.token.key.new')} is there: another init runs`)
    expect([...(await contentOf(file('interrupted'))).keys()]).toEqual(['.token.key.new'])
  })

  it('of two at once, one makes everything and the other nothing', async () => {
    const outcomes = await Promise.all([1, 2].map(() => init('kbs', 'race', '--dns', 'localhost')))
    expect(outcomes.map(({ status }) => status).sort()).toEqual([0, 1])
    const files = await contentOf(file('race'))
    expect([...files.keys()].filter((name) => name.includes('.new'))).toEqual([])
    const leaf = certificate(files.get('tls.pem') ?? '')
    expect(leaf.checkPrivateKey(createPrivateKey(files.get('tls.key') ?? ''))).toBe(true)
    expect(leaf.verify(certificate(files.get('ca.pem') ?? '').publicKey)).toBe(true)
    const [, hash] = /#([0-9a-f]{64})/.exec(files.get('redis.acl') ?? '') ?? []
    expect(hash).toBe(sha256((files.get('redis.password') ?? '').trimEnd()))
  })

  it('not into a directory that others may write to', async () => {
    await mkdir(file('open'))
    await chmod(file('open'), 0o777)
    const { status, stderr } = await init('kbs', 'open', '--dns', 'localhost')
    expect([status, await readdir(file('open'))]).toEqual([1, []])
    expect(stderr).toContain(`chmod go-w ${file('open')}`)
  })

  it('nothing where a directory cannot be made', async () => {
    await writeFile(file('a-file'), '')
    expect(await init('kbs', 'a-file/below', '--dns', 'localhost')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('cannot write: ENOTDIR'),
    })
  })
})

describe("Trustee 1's CA certificate", () => {
  const received = 'received.pem'
  beforeAll(async () => {
    await make('kbs-attest', 'trustee1')
    await writeFile(file(received), await text('trustee1/token-ca.pem'))
  })

  it('is checked and put in its place', async () => {
    const { stderr } = await make('kbs-resource', 'trustee2', '--trustee1-ca', received)
    expect(await text('trustee2/trustee1-ca.pem')).toBe(await text(received))
    expect(stderr).not.toContain('Missing')
  })

  it('is kept where it is in its place already', async () => {
    await mkdir(file('prepared'), { mode: 0o700 })
    await writeFile(file('prepared/trustee1-ca.pem'), await text(received))
    expect((await make('kbs-resource', 'prepared')).stderr).not.toContain('Missing')
    expect(await text('prepared/trustee1-ca.pem')).toBe(await text(received))
  })

  it('can follow', async () => {
    await make('kbs-resource', 'later')
    const outcome = await init('kbs-resource', 'later', '--renew', 'trustee1-ca', '--trustee1-ca', received)
    expect(outcome).toMatchObject({ status: 0 })
    expect(await text('later/trustee1-ca.pem')).toBe(await text(received))
    expect(await init('kbs-resource', 'later', '--renew', 'trustee1-ca')).toMatchObject({ status: 1 })
  })

  it.each([
    ['a leaf', () => text('trustee1/tls.pem'), 'is not a CA certificate'],
    ['a chain', () => text('trustee1/token-chain.pem'), 'is not a CA certificate'],
    ['a key', () => text('trustee1/offline/token-ca.key'), 'holds a private key'],
    [
      'key and certificate',
      async () => (await text(received)) + (await text('trustee1/token.key')),
      'holds a private key',
    ],
    ['nothing', async () => '', 'has no certificate in PEM form'],
    ['a broken one', async () => (await text(received)).replace(/[A-Za-z0-9+/]{64}\n/, ''), 'cannot be read'],
    ['an expired one', async () => expiredCa().pem, 'has expired'],
  ])('is refused if it is %s, and then nothing is made', async (name, content, reason) => {
    const directory = `refused ${name}`
    await writeFile(file('wrong.pem'), await content())
    const outcome = await init('kbs-resource', directory, '--dns', 'localhost', '--trustee1-ca', 'wrong.pem')
    expect(outcome).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining(reason) })
    expect(outcome.stderr).not.toContain('BEGIN')
    await expect(stat(file(directory))).rejects.toThrow('ENOENT')
  })
})

describe('init --renew', () => {
  let before: ReadonlyMap<string, string>
  const renew = async (item: string, ...args: string[]) => {
    before = await contentOf(file('renewed'))
    const outcome = await init('kbs', 'renewed', '--renew', item, ...args)
    expect(outcome).toMatchObject({ status: 0, stderr: '' })
    const after = await contentOf(file('renewed'))
    return [...after.keys()].filter((name) => after.get(name) !== before.get(name)).sort()
  }
  const now = (name: string) => text('renewed', name)
  const old = (name: string) => before.get(name) ?? ''
  beforeAll(() => make('kbs', 'renewed', '--dns', 'kbs.example', '--ip', '::1'))

  it('tls: a new key and certificate for the same names under the same CA', async () => {
    expect(await renew('tls')).toEqual(['tls.key', 'tls.pem'])
    const leaf = certificate(await now('tls.pem'))
    expect(leaf.verify(certificate(await now('ca.pem')).publicKey)).toBe(true)
    expect(leaf.subjectAltName).toBe(certificate(old('tls.pem')).subjectAltName)
    expect([await modeOf('renewed/tls.key'), await modeOf('renewed/tls.pem')]).toEqual([0o600, 0o644])
    await renew('tls', '--dns', 'new.example')
    expect(certificate(await now('tls.pem')).subjectAltName).toBe('DNS:new.example')
  })

  it('redis-tls: the same for Redis', async () => {
    expect(await renew('redis-tls')).toEqual(['redis.key', 'redis.pem'])
    expect(certificate(await now('redis.pem')).checkHost('redis')).toBeDefined()
  })

  it('redis: a new password; the former one lets in until it is forgotten', async () => {
    const former = (await now('redis.password')).trimEnd()
    expect(await renew('redis')).toEqual(['redis.acl', 'redis.password'])
    const current = (await now('redis.password')).trimEnd()
    expect(await now('redis.acl')).toContain(` #${sha256(current)} #${sha256(former)} `)
    expect(await init('kbs', 'renewed', '--forget', 'redis')).toMatchObject({ status: 0 })
    expect(await now('redis.acl')).toContain(` #${sha256(current)} `)
    expect(await now('redis.acl')).not.toContain(sha256(former))
    expect(`${await now('redis.acl')}${old('redis.acl')}`).not.toContain(current)
  })

  it('admin: a new pair; the server goes on accepting the former key until it is forgotten', async () => {
    expect(await renew('admin')).toEqual(['admin.pub.pem', 'offline/admin.key'])
    const current = createPublicKey(await now('offline/admin.key')).export({ format: 'pem', type: 'spki' })
    expect(await now('admin.pub.pem')).toBe(current + old('admin.pub.pem'))
    expect(await init('kbs', 'renewed', '--forget', 'admin')).toMatchObject({ status: 0 })
    expect(await now('admin.pub.pem')).toBe(current)
    await renew('admin')
    await renew('admin')
    expect((await now('admin.pub.pem')).match(/BEGIN/g)).toHaveLength(2)
  })

  it('client: a new token; the service goes on accepting the former one until it is forgotten', async () => {
    await make('attestation-service', 'client')
    const renewed = async (...args: string[]) => {
      expect(await init('attestation-service', 'client', ...args)).toMatchObject({ status: 0 })
      return {
        shown: await text('client/client.token'),
        accepted: await text('client/client-accepted.tokens'),
      }
    }
    const former = await text('client/client.token')
    expect(await text('client/client-accepted.tokens')).toBe(former)
    const { shown, accepted } = await renewed('--renew', 'client')
    expect(shown).not.toBe(former)
    expect(accepted).toBe(shown + former)
    expect(await renewed('--forget', 'client')).toEqual({ shown, accepted: shown })
  })

  it('token: a new key whose chain leads to the CA that Trustee 2 has', async () => {
    expect(await renew('token')).toEqual(['token-chain.pem', 'token.key'])
    const [leaf, ca] = certificates(await now('token-chain.pem'))
    expect(ca?.toString()).toBe(old('token-ca.pem'))
    expect(leaf?.verify(certificate(old('token-ca.pem')).publicKey)).toBe(true)
  })

  it('token-ca: Trustee 2 is to trust both until the former one is forgotten', async () => {
    const formerCa = await now('token-ca.pem')
    expect(await renew('token-ca')).toEqual(['offline/token-ca.key', 'token-ca.pem'])
    const [next, former] = certificates(await now('token-ca.pem'))
    expect(former?.toString()).toBe(formerCa)
    expect(next?.subject).not.toBe(former?.subject)
    expect(certificate(await now('token-chain.pem')).verify(certificate(formerCa).publicKey)).toBe(true)
    await renew('token')
    expect(next && certificate(await now('token-chain.pem')).verify(next.publicKey)).toBe(true)
    expect(await init('kbs', 'renewed', '--forget', 'token-ca')).toMatchObject({ status: 0 })
    expect(await now('token-ca.pem')).toBe(next?.toString())
  })

  it('ca: likewise for clients', async () => {
    expect(await renew('ca')).toEqual(['ca.pem', 'offline/ca.key'])
    expect(certificates(await now('ca.pem'))).toHaveLength(2)
    await renew('tls')
    expect(certificate(await now('tls.pem')).verify(certificate(await now('ca.pem')).publicKey)).toBe(true)
    expect(await init('kbs', 'renewed', '--forget', 'ca')).toMatchObject({ status: 0 })
    expect(certificates(await now('ca.pem'))).toHaveLength(1)
  })

  it('storage: the former key stays readable for the server, and every one there was for backups', async () => {
    for (const round of [1, 2]) {
      const changed = await renew('storage')
      expect(changed.map((name) => name.replace(/-until-.*/, ''))).toEqual([
        'offline/storage',
        'storage-previous.key',
        'storage.key',
      ])
      expect(await now('storage-previous.key')).toBe(old('storage.key'))
      expect(await now(changed[0] ?? '')).toBe(old('storage.key'))
      expect(Buffer.from(await now('storage.key'), 'base64')).toHaveLength(32)
      expect((await readdir(file('renewed/offline'))).filter((name) => /^storage/.test(name))).toHaveLength(
        round,
      )
    }
  })

  it('carries nothing on that is not what it should be: a program’s user may have put it there', async () => {
    await make('attestation-service', 'swapped')
    await make('kbs', 'swapped-kbs')
    const secrets = 'root:one:1\nother:two:2\n'
    await writeFile(file('swapped/client.token'), secrets)
    await writeFile(file('swapped/redis.password'), '')
    await writeFile(file('swapped-kbs/storage.key'), secrets)
    const before = await contentOf(folder)
    const renewals = [
      ['attestation-service', 'swapped', 'client'],
      ['attestation-service', 'swapped', 'redis'],
      ['kbs', 'swapped-kbs', 'storage'],
    ] as const
    for (const [program, directory, item] of renewals)
      expect(await init(program, directory, '--renew', item)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('does not hold'),
      })
    expect(await contentOf(folder)).toEqual(before)
  })

  it('needs the CA’s key, and says how to bring it back', async () => {
    await make('kbs', 'locked-away', '--offline', 'safe')
    const outcome = await init('kbs', 'locked-away', '--renew', 'tls')
    expect(outcome).toMatchObject({ status: 1, stderr: expect.stringContaining('--offline DIR') })
    expect(await init('kbs', 'locked-away', '--renew', 'tls', '--offline', 'safe')).toMatchObject({
      status: 0,
    })
    await make('kbs', 'other', '--offline', 'other-safe')
    expect(await init('kbs', 'locked-away', '--renew', 'tls', '--offline', 'other-safe')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('does not begin with the certificate of ca.key'),
    })
  })

  it('says when a certificate is shortened by the end of its CA', async () => {
    await make('kbs', 'ending', '--ca-days', '30', '--days', '10')
    const { stderr } = await init('kbs', 'ending', '--renew', 'token', '--days', '20')
    expect(stderr).toBe('')
    const day = certificate(await text('ending/token-ca.pem'))
      .validToDate.toISOString()
      .slice(0, 10)
    const outcome = await init('kbs', 'ending', '--renew', 'token')
    expect(outcome.stderr).toContain(`token-ca.pem ends on ${day}, and with it this: --renew token-ca`)
  })

  it('makes nothing under a CA that has ended, until that is renewed', async () => {
    await make('kbs', 'ended', '--ca-days', '30')
    const later = (...args: string[]) =>
      kbsctlAt(
        new Date(Date.now() + 31 * 86_400_000),
        ...['init', '--program', 'kbs', '--directory', 'ended', ...args],
      )
    expect(await later('--renew', 'token')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('has expired: --renew token-ca first'),
    })
    for (const item of ['token-ca', 'token'])
      expect(await later('--renew', item)).toMatchObject({ status: 0 })
  })

  it('knows which program has what', async () => {
    expect((await init('kbs-resource', 'renewed', '--renew', 'token')).stderr).toContain(
      'kbs-resource has no token',
    )
    expect((await init('kbs', 'nowhere', '--renew', 'tls')).stderr).toContain('is needed and not there')
    expect((await init('kbs', 'renewed', '--renew', 'tls', '--forget', 'ca')).status).toBe(2)
  })
})

describe('init has to be told', () => {
  it.each([
    ['no names', [], 1, 'needs --dns or --ip'],
    ['an empty name, as an unset variable leaves it', ['--dns', ''], 1, 'needs --dns or --ip'],
    ['an address as a name', ['--dns', '10.0.0.1'], 1, '--ip'],
    ['a name as an address', ['--ip', 'localhost'], 1, 'is not an IP address'],
    ['what is no name', ['--dns', 'a b'], 1, 'is not a host name'],
    ['a label too long', ['--dns', `${'a'.repeat(64)}.example`], 1, 'is not a host name'],
    ['no days', ['--dns', 'a', '--days', '0'], 2, 'days'],
    ['half a day', ['--dns', 'a', '--ca-days', '0.5'], 2, 'days'],
  ])('%s', async (_, args, status, reason) => {
    expect(await init('kbs', 'never', ...args)).toMatchObject({
      status,
      stderr: expect.stringContaining(reason),
    })
    await expect(stat(file('never'))).rejects.toThrow('ENOENT')
  })

  it('which program, of those that there are', async () => {
    expect((await init('trustee', 'never', '--dns', 'a')).status).toBe(2)
    expect((await kbsctl('init', '--directory', 'never', '--dns', 'a')).status).toBe(2)
  })
})

function sha256(value: string): string {
  return createHash('sha256').update(value).digest('hex')
}

function expiredCa() {
  const day = 86_400_000
  return makeCertificate({
    name: 'expired CA',
    ca: true,
    notBefore: new Date(Date.now() - 2 * day),
    notAfter: new Date(Date.now() - day),
  })
}

function opensslAvailable(): boolean {
  if (spawnSync('openssl', ['version'], { stdio: 'ignore' }).status === 0) return true
  const message = 'openssl not found: what kbsctl init makes CANNOT BE CHECKED by it. apt-get install openssl'
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}
