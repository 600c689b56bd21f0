import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type RedisServer, startRedis } from '@passport-kbs/testing/redis'
import { type JWTPayload, SignJWT } from 'jose'
import { stringify } from 'smol-toml'
import { type Program, type ProgramName, type ProgramOptions, startProgram } from './program.ts'

/** What a configuration file holds, before it is TOML. */
export type ConfigTable = { readonly [key: string]: unknown }

/** A Redis server of one organisation: its only user has the rights that docs/storage.md asks for, and no more. */
export interface OrganisationRedis {
  readonly server: RedisServer
  readonly password: string
  /** The section `[storage_backend]`. */
  readonly config: ConfigTable
}

/** Who administrates the programs of one organisation. */
export interface Administrator {
  readonly privateKey: KeyObject
  /** PEM file with the public half. */
  readonly publicKeyFile: string
  /** A token that this organisation's programs accept; members of `claims` replace the usual ones. */
  token(claims?: JWTPayload): Promise<string>
  /** The section `[admin]`. */
  readonly config: ConfigTable
}

/**
 * One of the two organisations: a folder, an administrator, and the programs and stores that it runs. Two of them have
 * nothing in common but what a test carries from one to the other.
 */
export interface Organisation extends AsyncDisposable {
  readonly name: string
  readonly folder: string
  readonly admin: Administrator
  /** Path of a file in the folder. */
  path(file: string): string
  /** Writes a file, replacing it in one step, readable for its owner only. Answers its path. */
  write(file: string, content: string | Uint8Array): Promise<string>
  /** @param parentFolder see `RedisOptions` */
  startRedis(parentFolder?: string): Promise<OrganisationRedis>
  /** Starts a program in the organisation's folder with this configuration; text is written as it is. */
  start(
    program: ProgramName,
    config: ConfigTable | string,
    options?: Omit<ProgramOptions, 'configFile'>,
  ): Promise<Program>
  /** Ends everything and removes the folder. */
  close(): Promise<void>
}

export async function createOrganisation(name: string): Promise<Organisation> {
  const folder = await mkdtemp(join(tmpdir(), `${name}-`))
  await chmod(folder, 0o700)
  const programs: Program[] = []
  const stores: RedisServer[] = []
  const path = (file: string) => join(folder, file)
  let configs = 0

  const write: Organisation['write'] = async (file, content) => {
    const target = path(file)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    await writeFile(`${target}.new`, content, { mode: 0o600 })
    await rename(`${target}.new`, target)
    return target
  }
  const close = async () => {
    await Promise.all(programs.map((program) => program.stop()))
    await Promise.all(stores.map((server) => server.stop()))
    await rm(folder, { recursive: true, force: true })
  }
  return {
    name,
    folder,
    admin: await createAdministrator(name, write),
    path,
    write,
    async startRedis(parentFolder) {
      const redis = await openRedis(name, parentFolder)
      stores.push(redis.server)
      return redis
    },
    async start(program, config, options = {}) {
      configs += 1
      const configFile = await write(`${program}-${configs}.toml`, tomlOf(config))
      const started = await startProgram(program, { cwd: folder, ...options, configFile })
      programs.push(started)
      return started
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function tomlOf(config: ConfigTable | string): string {
  return typeof config === 'string' ? config : stringify(config)
}

const audience = 'KBS'
const role = 'admin'

async function createAdministrator(name: string, write: Organisation['write']): Promise<Administrator> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const publicKeyFile = await write('admin.pub', publicKey.export({ format: 'pem', type: 'spki' }).toString())
  const issuer = `${name} operator`
  const provider = { issuer, audience, public_key_uri: publicKeyFile }
  return {
    privateKey,
    publicKeyFile,
    token: (claims = {}) => {
      const seconds = Math.floor(Date.now() / 1000)
      return new SignJWT({
        iss: issuer,
        sub: `${name}-admin`,
        aud: [audience],
        role,
        iat: seconds,
        exp: seconds + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
        .sign(privateKey)
    },
    config: {
      authorization_mode: 'AuthenticatedAuthorization',
      authentication: { bearer_jwt: { identity_providers: [provider] } },
      authorization: { regex_acl: { acls: [{ role, allowed_endpoints: '^/kbs/.+$' }] } },
    },
  }
}

/** The commands that docs/storage.md lists. */
const commands = [
  ...['get', 'set', 'del', 'mget', 'scan', 'eval', 'ping', 'info'],
  ...['exists', 'hset', 'hget', 'hmget', 'hdel', 'pexpire'],
]

async function openRedis(name: string, parentFolder: string | undefined): Promise<OrganisationRedis> {
  const password = `${name}-${crypto.randomUUID()}`
  const prefix = `${name}:`
  const rules = `~${prefix}* -@all ${commands.map((command) => `+${command}`).join(' ')}`
  // Redis 7.0 reads its append-only file with the rights of the default user, on or off: without any, it drops what
  // scripts have written in one step, which is every session.
  const directives = ['user default off ~* +@all', `user ${name} on >${password} ${rules}`]
  const server = await startRedis({
    directives,
    ...(parentFolder === undefined ? {} : { parentFolder }),
  })
  const url = `redis://${name}:${password}@127.0.0.1:${server.port}`
  const redis = { url, key_prefix: prefix, command_timeout_ms: 1_000 }
  return { server, password, config: { storage_type: 'Redis', backends: { redis } } }
}
