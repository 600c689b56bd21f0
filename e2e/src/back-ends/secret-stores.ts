import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { postgresAvailable, startPostgres } from '@passport-kbs/testing/postgres'
import { redisAvailable, redisCommand, startRedis } from '@passport-kbs/testing/redis'
import { type ConfigTable, createOrganisation } from '../organisation.ts'
import type { BackEnd, OpenBackEnd } from './back-end.ts'
import { type Expectations, type Fault, type Mend, noDiskOfOurs, noNetwork } from './faults.ts'
import { Front } from './front.ts'
import { diskFaultsAvailable, withoutPrivileges } from './privileges.ts'
import { type Kbs2, newSecret, type SecretStage, startKbs2 } from './secret-stage.ts'
import { startStreamBackEnd } from './stream-back-end.ts'

const path = 'default/key/one'
const plugins = [{ name: 'resource', storage_backend_type: 'KvStorage' }]

const notHttp = {
  'quota with Retry-After': 'no HTTP',
  'web page': 'no HTTP: "no format"',
  redirect:
    'no HTTP; where the protocol has redirects (Redis Cluster) they stay among the nodes of one Cluster',
} as const satisfies Partial<Expectations>

const postgres: BackEnd<SecretStage> = {
  name: 'PostgreSQL, over TLS',
  choice: 'Postgres',
  available: postgresAvailable,
  expectations: {
    down: { log: /PostgreSQL does not answer.*ECONNREFUSED/, ready: 503 },
    slow: { log: /PostgreSQL does not answer.*timeout/i, ready: 503 },
    trickling: { log: /PostgreSQL does not answer.*timeout/i, ready: 503 },
    'unknown CA': { log: /PostgreSQL does not answer.*(certificate|signature)/, ready: 503 },
    'wrong name': { log: /PostgreSQL does not answer.*altnames/, ready: 503 },
    'expired certificate': { log: /PostgreSQL does not answer.*certificate has expired/, ready: 503 },
    'expired credential': { log: /PostgreSQL does not answer.*28P01/, ready: 503 },
    quota: { log: /PostgreSQL does not answer.*too many connections.*53300/, ready: 503 },
    'no format': { log: /PostgreSQL does not answer.*SSL connection/, ready: 503 },
    'wrong shape': { log: /PostgreSQL does not answer.*42703/, ready: 200 },
    'huge answer': 'a row is as large as we have let it become when we wrote it',
    'truncated answer': {
      log: /PostgreSQL does not answer.*(terminated|closed|disconnected|ECONNRESET)/,
      ready: 503,
    },
    ...notHttp,
    ...noDiskOfOurs,
  },
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    const front = { tls: false, cutAfter: 40, noise: 'X' }
    const certificates = await Front.start()
    const certificate = certificates.certificate()
    const server = await startPostgres({
      tls: { certificate: certificate.cert, privateKey: certificate.key },
    })
    const line = await startStreamBackEnd(server.port, front)
    const password = `pg-${randomBytes(18).toString('base64url')}`
    await server.sql(`CREATE ROLE kbs LOGIN PASSWORD '${password}'`)
    await server.sql('CREATE DATABASE kbs OWNER kbs')
    const section = {
      host: 'localhost',
      port: line.front.port,
      username: 'kbs',
      password_file: await organisation.write('postgres.password', `${password}\n`),
      tls: true,
      tls_ca: await organisation.write('postgres-ca.pem', certificates.ca.pem),
      command_timeout_ms: 1_000,
    }
    const storage = { storage_type: 'Postgres', backends: { postgres: section } }
    const kbs2 = await startStoring(stage, organisation, storage)
    const cutAll = () =>
      server.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kbs'`)
    /** What the administrator of the database does, and undoes. */
    const statements: Partial<Record<Fault, readonly [string, string, string]>> = {
      'expired credential': [
        `ALTER ROLE kbs VALID UNTIL '2001-01-01'`,
        `ALTER ROLE kbs VALID UNTIL 'infinity'`,
        'postgres',
      ],
      quota: ['ALTER ROLE kbs CONNECTION LIMIT 0', 'ALTER ROLE kbs CONNECTION LIMIT -1', 'postgres'],
      'wrong shape': [
        'ALTER TABLE repository RENAME COLUMN value TO content',
        'ALTER TABLE repository RENAME COLUMN content TO value',
        'kbs',
      ],
    }
    return {
      ...kbs2.asking,
      confidential: [password],
      async begin(fault) {
        const sql = statements[fault]
        if (sql !== undefined) {
          const [begin, end, database] = sql
          await server.sql(begin, database)
          await cutAll()
          return async () => void (await server.sql(end, database))
        }
        if (fault !== 'unknown CA' && fault !== 'wrong name' && fault !== 'expired certificate')
          return line.begin(fault)
        const show = async (shown: { readonly cert: string; readonly key: string }) => {
          await server.useCertificate({ certificate: shown.cert, privateKey: shown.key })
          await cutAll()
        }
        await show(certificates.certificate(fault))
        return () => show(certificate)
      },
      async close() {
        await organisation.close()
        await line.close()
        await certificates.close()
        await server.stop()
      },
    }
  },
}

const redis: BackEnd<SecretStage> = {
  name: 'Redis, over TLS',
  choice: 'Redis',
  available: redisAvailable,
  expectations: {
    down: { log: /Redis does not answer.*ECONNREFUSED/, ready: 503 },
    slow: { log: /Redis does not answer/, ready: 503 },
    trickling: { log: /Redis does not answer/, ready: 503 },
    'unknown CA': { log: /Redis does not answer.*(certificate|signature)/, ready: 503 },
    'wrong name': { log: /Redis does not answer.*altnames/, ready: 503 },
    'expired certificate': { log: /Redis does not answer.*certificate has expired/, ready: 503 },
    'expired credential': { log: /Redis does not answer.*WRONGPASS/, ready: 503 },
    quota: { on: 'write', log: /Redis does not answer.*OOM command not allowed/, ready: 200 },
    'no format': { log: /Redis does not answer.*(Protocol error|Unknown RESP type)/, ready: 503 },
    'wrong shape': { log: /Redis does not answer.*WRONGTYPE/, ready: 200 },
    'huge answer': 'a value is as large as we have let it become when we wrote it',
    'truncated answer': { log: /Redis does not answer/, ready: 503 },
    ...notHttp,
    ...noDiskOfOurs,
  },
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    const password = `redis-${randomBytes(18).toString('base64url')}`
    const server = await startRedis({
      directives: ['user default on nopass ~* &* +@all', `user kbs on >${password} ~* &* +@all`],
    })
    const line = await startStreamBackEnd(server.port, {
      cutAfter: 3,
      noise: 'HTTP/1.1 400 Bad Request\r\n\r\n',
    })
    const section = {
      url: `rediss://kbs@localhost:${line.front.port}`,
      password_file: await organisation.write('redis.password', `${password}\n`),
      tls_ca: await organisation.write('redis-ca.pem', line.front.ca.pem),
      command_timeout_ms: 1_000,
    }
    const kbs2 = await startStoring(stage, organisation, {
      storage_type: 'Redis',
      backends: { redis: section },
    })
    const command = (...words: string[]) => redisCommand(server.port, ...words)
    const faults: Partial<Record<Fault, () => Promise<Mend>>> = {
      async 'expired credential'() {
        await command('ACL', 'SETUSER', 'kbs', 'resetpass', '>another')
        line.front.drop()
        return async () => void (await command('ACL', 'SETUSER', 'kbs', 'resetpass', `>${password}`))
      },
      async quota() {
        await command('CONFIG', 'SET', 'maxmemory', '1')
        return async () => void (await command('CONFIG', 'SET', 'maxmemory', '0'))
      },
      async 'wrong shape'() {
        await command('RENAME', `repository:${path}`, 'aside')
        await command('LPUSH', `repository:${path}`, 'x')
        return async () => void (await command('RENAME', 'aside', `repository:${path}`))
      },
    }
    return {
      ...kbs2.asking,
      confidential: [password],
      begin: (fault) => faults[fault]?.() ?? line.begin(fault),
      async close() {
        await organisation.close()
        await line.close()
        await server.stop()
      },
    }
  },
}

const nobodyWrites = {
  quota: 'no quota but the disk’s: "full disk"',
  'no format': 'a secret is any bytes; what encryption finds is "corrupt"',
  'wrong shape': 'a secret is any bytes; what encryption finds is "corrupt"',
  'truncated answer': '"corrupt"',
} as const satisfies Partial<Expectations>

const localFs: BackEnd<SecretStage> = {
  name: 'LocalFs, encrypted',
  choice: 'LocalFs',
  available: diskFaultsAvailable,
  expectations: {
    down: { log: /cannot read a value: ENOENT/, ready: 503 },
    'huge answer': { log: /stored value is over \d+ bytes/, ready: 200 },
    'read-only': { on: 'write', log: /cannot write a value: EACCES/, ready: 200 },
    'full disk': { on: 'write', log: /cannot write a value: EFBIG/, ready: 200 },
    corrupt: { log: /a stored value was changed, or moved/, ready: 200 },
    'no permission': { log: /cannot read a value: EACCES/, ready: 200 },
    ...nobodyWrites,
    ...noNetwork,
  },
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    const folder = organisation.path('store')
    const key = randomBytes(32).toString('base64')
    const kbs2 = await startStoring(stage, organisation, {
      storage_type: 'LocalFs',
      backends: { local_fs: { dir_path: folder } },
      encryption: { key_file: await organisation.write('storage.key', `${key}\n`) },
    })
    const [name = ''] = (await readdir(join(folder, 'repository'))).filter((file) => file.includes('one'))
    const file = join(folder, 'repository', name)
    return {
      ...kbs2.asking,
      confidential: [key],
      begin: (fault) =>
        diskFaults({ root: folder, folder: join(folder, 'repository'), file, pid: kbs2.kbs.pid }, fault),
      close: () => organisation.close(),
    }
  },
}

const localJson: BackEnd<SecretStage> = {
  name: 'LocalJson',
  choice: 'LocalJson',
  available: diskFaultsAvailable,
  expectations: {
    down: { log: /cannot read a namespace: ENOENT/, ready: 503 },
    'huge answer': { log: /stored value is over \d+ bytes/, ready: 200 },
    'read-only': { on: 'write', log: /cannot write a namespace: EACCES/, ready: 200 },
    'full disk': { on: 'write', log: /cannot (write a namespace: EFBIG|take the storage lock)/, ready: 200 },
    corrupt: { log: /stored namespace is damaged/, ready: 200 },
    'no permission': { log: /cannot read a namespace: EACCES/, ready: 200 },
    ...nobodyWrites,
    ...noNetwork,
  },
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    const folder = organisation.path('store')
    const kbs2 = await startStoring(stage, organisation, {
      storage_type: 'LocalJson',
      backends: { local_json: { file_dir_path: folder } },
    })
    const file = join(folder, 'repository')
    return {
      ...kbs2.asking,
      confidential: [],
      begin: (fault) => diskFaults({ root: folder, folder, file, pid: kbs2.kbs.pid }, fault),
      close: () => organisation.close(),
    }
  },
}

const inThisProcess = 'it is in the memory of the program, and ends with it'

const memory: BackEnd<SecretStage> = {
  name: 'Memory',
  choice: 'Memory',
  expectations: {
    ...noNetwork,
    down: inThisProcess,
    quota: inThisProcess,
    'no format': inThisProcess,
    'wrong shape': inThisProcess,
    'huge answer': inThisProcess,
    'truncated answer': inThisProcess,
    'read-only': inThisProcess,
    'full disk': inThisProcess,
    corrupt: inThisProcess,
    'no permission': inThisProcess,
  },
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    const kbs2 = await startStoring(stage, organisation, { storage_type: 'Memory' })
    return {
      ...kbs2.asking,
      confidential: [],
      begin: () => Promise.reject(new Error('memory does not fail')),
      close: () => organisation.close(),
    }
  },
}

const driverSwaps = 'the driver makes a new folder and swaps one link, so no half file is seen'

const mount: BackEnd<SecretStage> = {
  name: 'directory that the Secrets Store CSI driver mounts',
  choice: 'mounts',
  available: diskFaultsAvailable,
  expectations: {
    down: { log: /cannot read the directory of secrets: ENOENT/, ready: 200 },
    quota: 'the driver’s affair: it goes on showing what it has fetched',
    'no format': 'a secret is any bytes',
    'wrong shape': { log: /stored value is not a regular file/, ready: 200 },
    'huge answer': { log: /stored value is over \d+ bytes/, ready: 200 },
    'truncated answer': driverSwaps,
    'read-only': 'it always is: writes are 400',
    'full disk': 'nothing is written there by us',
    corrupt: { log: /the directory of secrets changes while it is read/, ready: 200 },
    'no permission': { log: /cannot read the directory of secrets: EACCES/, ready: 200 },
    ...noNetwork,
  },
  async open(stage) {
    const organisation = await createOrganisation('trustee-2')
    const directory = organisation.path('secrets-store')
    const secret = newSecret()
    // as the driver's atomic writer lays it out
    await mkdir(join(directory, '..2027_01_01'), { recursive: true })
    const file = join(directory, '..2027_01_01', 'one')
    await writeFile(file, secret, { mode: 0o644 })
    await symlink('..2027_01_01', join(directory, '..data'))
    await symlink('..data/one', join(directory, 'one'))
    const mounts = [{ prefix: 'default/akv', directory }]
    const kbs2 = await startKbs2(
      stage,
      organisation,
      { plugins: plugins.map((plugin) => ({ ...plugin, mounts })) },
      { path: 'default/akv/one', secret, under: withoutPrivileges() },
    )
    const row: OpenBackEnd = {
      ...kbs2.asking,
      confidential: [],
      begin: (fault) => {
        // the link leads nowhere: the driver died between two steps
        if (fault === 'corrupt') return setAside(join(directory, '..2027_01_01'))
        return diskFaults({ root: directory, folder: directory, file, pid: kbs2.kbs.pid }, fault)
      },
      close: () => organisation.close(),
    }
    return row
  },
}

/** A KBS2 whose secrets are in `[storage_backend]`, with one put there by its administrator. */
async function startStoring(
  stage: SecretStage,
  organisation: Kbs2['organisation'],
  storage: ConfigTable,
): Promise<Kbs2> {
  const secret = newSecret()
  const config = { plugins, storage_backend: storage }
  const kbs2 = await startKbs2(stage, organisation, config, { path, secret, under: withoutPrivileges() })
  await kbs2.administration.setResource(path, secret)
  return kbs2
}

interface Place {
  /** Of the whole store. */
  readonly root: string
  /** Where files are written. */
  readonly folder: string
  /** What holds the secret. */
  readonly file: string
  /** Of the program. */
  readonly pid: number
}

async function diskFaults({ root, folder, file, pid }: Place, fault: Fault): Promise<Mend> {
  switch (fault) {
    case 'down':
      return setAside(root)
    case 'read-only':
      await chmod(folder, 0o500)
      return () => chmod(folder, 0o700)
    case 'full disk':
      // no file may grow beyond nothing; the log is a pipe
      limitFiles(pid, '0:')
      return async () => limitFiles(pid, 'unlimited:')
    case 'no permission':
      await chmod(file, 0o000)
      return () => chmod(file, 0o600)
    case 'corrupt':
      return replaced(file, async (content) => {
        const changed = Buffer.from(content)
        const last = changed.length - 1
        changed[last] = (changed[last] ?? 0) ^ 1
        await writeFile(file, changed)
      })
    case 'huge answer':
      return replaced(file, async () => {
        await writeFile(file, '')
        await truncate(file, 1024 ** 3)
      })
    case 'wrong shape': {
      const mend = await setAside(file)
      await mkdir(file)
      return async () => {
        await rm(file, { recursive: true })
        await mend()
      }
    }
    default:
      throw new Error(`a disk cannot fail like this: ${fault}`)
  }
}

async function setAside(place: string): Promise<Mend> {
  await rename(place, `${place}.aside`)
  return () => rename(`${place}.aside`, place)
}

async function replaced(file: string, change: (content: Buffer) => Promise<void>): Promise<Mend> {
  const content = await readFile(file)
  await change(content)
  return () => writeFile(file, content)
}

function limitFiles(pid: number, limit: string): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(pid), `--fsize=${limit}`])
  if (status !== 0) throw new Error(`prlimit: ${String(stderr)}`)
}

/** Secrets in `[storage_backend]` of each type, and in mounted directories. */
export const secretStores: readonly BackEnd<SecretStage>[] = [
  postgres,
  redis,
  localFs,
  localJson,
  memory,
  mount,
]
