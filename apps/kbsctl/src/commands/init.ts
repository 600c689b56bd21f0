import { resolve } from 'node:path'
import {
  type Authority,
  type AuthorityName,
  authorityFiles,
  newAuthority,
  readAuthority,
} from '../deployment/authority.ts'
import { certificatesIn, checkCaBundle } from '../deployment/ca-bundle.ts'
import {
  DeploymentDirectory,
  type DeploymentFile,
  makePrivateDirectory,
} from '../deployment/deployment-directory.ts'
import {
  acceptedTokensFile,
  adminFiles,
  clientFiles,
  type Item,
  isStorageKey,
  itemsOf,
  lifetime,
  type Program,
  redisAclFile,
  redisFiles,
  serverFiles,
  storageFiles,
  tokenFiles,
  type Validity,
} from '../deployment/deployment-items.ts'
import { namesIn, serverNames } from '../deployment/server-names.ts'
import { readText } from '../files.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface InitOptions {
  /** Whose secrets. */
  readonly program: Program
  /** Where they go. */
  readonly directory: string
  /** Where private keys go that no server needs. Default: `offline` in the directory. */
  readonly offline?: string
  /** Names in the program's certificate. */
  readonly dns: readonly string[]
  readonly ip: readonly string[]
  /** Names in the certificate of its Redis. */
  readonly redisDns: readonly string[]
  readonly days: number
  readonly caDays: number
  /** File with Trustee 1's CA certificate, for `kbs-resource`. */
  readonly trustee1Ca?: string
  /** A directory to make for Redis's data. */
  readonly redisData?: string
  /** Replace this one only. */
  readonly renew?: Item
  /** Take out what `renew` has kept of the former one. */
  readonly forget?: Item
}

const caFile = 'trustee1-ca.pem'

/** Makes all secrets and certificates of one deployment; or replaces one kind of them. */
export async function init(terminal: Terminal, options: InitOptions): Promise<void> {
  const directory = new DeploymentDirectory(
    resolve(terminal.cwd, options.directory),
    options.offline === undefined ? undefined : resolve(terminal.cwd, options.offline),
  )
  const item = options.renew ?? options.forget
  if (item !== undefined && !itemsOf[options.program].includes(item)) {
    throw new CommandFailed(`${options.program} has no ${item}`)
  }
  const deployment = new Deployment(terminal, options, directory)
  if (options.renew !== undefined) return await deployment.renew(options.renew)
  if (options.forget !== undefined) return await deployment.forget(options.forget)
  await deployment.make()
}

class Deployment {
  readonly #terminal: Terminal
  readonly #options: InitOptions
  readonly #directory: DeploymentDirectory
  readonly #validity: Validity

  constructor(terminal: Terminal, options: InitOptions, directory: DeploymentDirectory) {
    this.#terminal = terminal
    this.#options = options
    this.#directory = directory
    this.#validity = { now: terminal.now(), days: options.days, caDays: options.caDays }
  }

  /** Everything, once. */
  async make(): Promise<void> {
    const { program, redisData } = this.#options
    const files = await this.#allFiles()
    const taken = await this.#directory.existing(files.map(({ name }) => name))
    if (taken.length > 0) {
      const paths = taken.map((name) => this.#directory.path(name)).join('\n  ')
      throw new CommandFailed(
        `nothing was written, for these files are there:\n  ${paths}\n` +
          'To replace one kind of them: --renew. To start anew: another --directory, or move them away.',
      )
    }
    if (redisData !== undefined) await makePrivateDirectory(resolve(this.#terminal.cwd, redisData))
    await this.#directory.add(files)
    this.#report(files)
    for (const line of await this.#whatNext(program)) this.#terminal.err(line)
  }

  /** One kind, keeping its CA, and what was there before wherever others may still need it. */
  async renew(item: Item): Promise<void> {
    const files = await this.#renewed(item)
    await this.#directory.replace(files)
    this.#report(files)
  }

  async forget(item: Item): Promise<void> {
    const files = await this.#withoutFormer(item)
    await this.#directory.replace(files)
    this.#report(files)
  }

  async #allFiles(): Promise<DeploymentFile[]> {
    const { program, dns, ip, redisDns } = this.#options
    const ca = this.#newAuthority('ca')
    const files = [
      ...authorityFiles('ca', ca),
      ...serverFiles('tls', serverNames(dns, ip), ca, this.#validity),
      ...serverFiles('redis', serverNames(redisDns, []), ca, this.#validity),
      ...redisFiles(),
    ]
    for (const item of itemsOf[program]) {
      if (item === 'admin') files.push(...adminFiles())
      if (item === 'storage') files.push(...storageFiles())
      if (item === 'client') files.push(...clientFiles())
      if (item === 'trustee1-ca') files.push(...(await this.#receivedCa()))
      if (item === 'token-ca') {
        const tokenCa = this.#newAuthority('token-ca')
        files.push(...authorityFiles('token-ca', tokenCa), ...tokenFiles(program, tokenCa, this.#validity))
      }
    }
    return files
  }

  async #renewed(item: Item): Promise<DeploymentFile[]> {
    const { program, dns, ip, trustee1Ca } = this.#options
    switch (item) {
      case 'ca':
      case 'token-ca':
        return authorityFiles(item, this.#newAuthority(item), await this.#currentCa(item))
      case 'tls': {
        const names = dns.length + ip.length > 0 ? serverNames(dns, ip) : await this.#namesIn('tls.pem')
        return serverFiles('tls', names, await this.#authority('ca'), this.#validity)
      }
      case 'redis-tls':
        return serverFiles(
          'redis',
          await this.#namesIn('redis.pem'),
          await this.#authority('ca'),
          this.#validity,
        )
      case 'redis':
        return redisFiles(await this.#line('redis.password'))
      case 'admin':
        return adminFiles(await this.#currentAdminKey())
      case 'token':
        return tokenFiles(program, await this.#authority('token-ca'), this.#validity)
      case 'storage':
        return await this.#renewedStorageKey()
      case 'client':
        return clientFiles(await this.#line('client.token'))
      case 'trustee1-ca':
        if (trustee1Ca === undefined) throw new CommandFailed('--trustee1-ca FILE says what to put there')
        return await this.#receivedCa()
    }
  }

  async #withoutFormer(item: Item): Promise<DeploymentFile[]> {
    switch (item) {
      case 'ca':
      case 'token-ca':
        return [{ name: `${item}.pem`, text: await this.#currentCa(item), secret: false }]
      case 'admin':
        return [{ name: 'admin.pub.pem', text: await this.#currentAdminKey(), secret: false }]
      case 'redis':
        return [redisAclFile([await this.#line('redis.password')])]
      case 'client':
        return [acceptedTokensFile([await this.#line('client.token')])]
    }
    throw new CommandFailed(`--renew ${item} keeps nothing that could be forgotten`)
  }

  /** Backups may need each key there ever was, so none is lost: they gather where no server looks. */
  async #renewedStorageKey(): Promise<DeploymentFile[]> {
    const former = await this.#directory.read('storage.key')
    if (!isStorageKey(former))
      throw new CommandFailed(`${this.#directory.path('storage.key')} does not hold 32 bytes in base64`)
    const time = this.#validity.now.toISOString().replaceAll(/[:.]/g, '-')
    return [
      { name: `offline/storage-until-${time}.key`, text: former, secret: true },
      ...storageFiles(former),
    ]
  }

  /** Trustee 1's CA certificate: the one that was named, or none where it is in its place already, or is to follow. */
  async #receivedCa(): Promise<DeploymentFile[]> {
    const { trustee1Ca } = this.#options
    if (trustee1Ca === undefined) {
      const present = await this.#directory.find(caFile)
      if (present !== undefined) checkCaBundle(present, this.#directory.path(caFile), this.#validity.now)
      return []
    }
    const text = await readText(this.#terminal, trustee1Ca)
    checkCaBundle(text, trustee1Ca, this.#validity.now)
    return [{ name: caFile, text, secret: false }]
  }

  #newAuthority(name: AuthorityName): Authority {
    const { now, caDays } = this.#validity
    return newAuthority(name, this.#options.program, lifetime(now, caDays))
  }

  /** A CA to certify with; whoever is shortened by its end is told. */
  async #authority(name: AuthorityName): Promise<Authority> {
    const { now, days } = this.#validity
    const authority = await readAuthority(name, this.#directory, now)
    if (authority.notAfter < lifetime(now, days).notAfter) {
      const day = authority.notAfter.toISOString().slice(0, 10)
      this.#terminal.err(
        `${this.#directory.path(`${name}.pem`)} ends on ${day}, and with it this: --renew ${name}`,
      )
    }
    return authority
  }

  /** The certificate in force, without those before it. */
  async #currentCa(name: AuthorityName): Promise<string> {
    const file = `${name}.pem`
    const [current] = certificatesIn(await this.#directory.read(file), this.#directory.path(file))
    return current?.toString() ?? ''
  }

  /** The public key in force, without those before it. */
  async #currentAdminKey(): Promise<string> {
    const text = await this.#directory.read('admin.pub.pem')
    const [current] = text.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----\n/) ?? []
    if (current !== undefined) return current
    throw new CommandFailed(`${this.#directory.path('admin.pub.pem')} has no public key in PEM form`)
  }

  async #line(file: string): Promise<string> {
    const line = (await this.#directory.read(file)).trimEnd()
    if (/^[\x21-\x7e]{1,4096}$/.test(line)) return line
    throw new CommandFailed(`${this.#directory.path(file)} does not hold one line of printable ASCII`)
  }

  async #namesIn(file: string) {
    return namesIn(await this.#directory.read(file))
  }

  #report(files: readonly DeploymentFile[]): void {
    for (const { name } of files) this.#terminal.out(this.#directory.path(name))
  }

  async #whatNext(program: Program): Promise<readonly string[]> {
    const path = (name: string) => this.#directory.path(name)
    const lines = [
      `Move ${path('offline/*')} to where no server is; --renew wants the CA keys back by --offline.`,
      `Clients trust ${path('ca.pem')}.`,
    ]
    if (program === 'kbs-attest') lines.push(`Hand ${path('token-ca.pem')} to Trustee 2.`)
    if (program === 'attestation-service')
      lines.push(`Its client shows the token in ${path('client.token')}.`)
    if (program === 'kbs-resource' && (await this.#directory.find(caFile)) === undefined) {
      lines.push(
        `Missing: ${path(caFile)}. Ask Trustee 1 for its token-ca.pem, then: kbsctl init --program kbs-resource ` +
          `--directory ${this.#options.directory} --renew trustee1-ca --trustee1-ca FILE`,
      )
    }
    return lines
  }
}
