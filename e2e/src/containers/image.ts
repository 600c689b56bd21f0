import {
  chmod,
  copyFile,
  cp,
  link,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, posix } from 'node:path'
import { bundle } from '../../../docker/bundle.ts'
import type { Build, Healthcheck } from './compose-file.ts'
import { type Copy, readDockerfile } from './dockerfile.ts'
import { mustRun } from './process.ts'

/** A root file system, and what an engine needs to know to start it. */
export interface Image {
  readonly rootfs: string
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string
  /** `uid:gid` */
  readonly user: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly healthcheck: Healthcheck | undefined
}

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Where the base image has Node. */
export const nodeProgram = '/nodejs/bin/node'

/** The base of our images: Node, the libraries that it is linked with, and next to nothing else. */
const nodeBase = {
  image: /^gcr\.io\/distroless\/nodejs24-debian12:nonroot(@|$)/,
  program: nodeProgram,
  env: { PATH: systemPath, SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt' },
  users: ['root:x:0:0:root:/root:/sbin/nologin', 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin'],
} as const

/**
 * What a build of the Dockerfile gives, without an engine and a registry: its instructions are followed, and only two
 * things are stood in for. The base image is the Node of this checkout with the libraries it is linked with; the build
 * stage is this checkout, in which the app's build script makes the bundle.
 */
export async function buildImage(build: Build): Promise<Image> {
  const stage = readDockerfile(await readFile(build.dockerfile, 'utf8'), build.args, build.target)
  if (!nodeBase.image.test(stage.base)) throw new Error(`what is in ${stage.base} is not known here`)
  if (stage.commands.length > 0) throw new Error(`nothing can be run in the image: ${stage.commands}`)
  const rootfs = await nodeRootfs()
  for (const copy of stage.copies) await followCopy(rootfs, copy, build.context)
  await mkdir(join(rootfs, stage.workingDir), { recursive: true })
  return {
    rootfs,
    env: { ...nodeBase.env, ...stage.env },
    workingDir: stage.workingDir,
    user: stage.user,
    entrypoint: stage.entrypoint,
    command: stage.command,
    healthcheck: stage.healthcheck,
  }
}

/** The base image alone, for programs that are no image of ours. */
export async function nodeImage(): Promise<Image> {
  return bareImage(await nodeRootfs(), nodeBase.env)
}

/** The image `redis` of the registry: the distribution's Redis, and the shell that the health check is written for. */
export async function redisImage(): Promise<Image> {
  const rootfs = await emptyRootfs(['root:x:0:0:root:/root:/bin/sh', 'redis:x:999:999:redis:/data:/bin/sh'])
  for (const program of ['redis-server', 'redis-cli']) await installFound(rootfs, program, '/usr/local/bin')
  for (const program of ['sh', 'cat', 'grep']) await installFound(rootfs, program, '/usr/bin')
  await symlink('usr/bin', join(rootfs, 'bin'))
  await mkdir(join(rootfs, 'data'))
  // The entrypoint of the original is not made here: compose files that rely on it fail.
  return { ...bareImage(rootfs, { PATH: systemPath }), workingDir: '/data' }
}

function bareImage(rootfs: string, env: Image['env']): Image {
  return { rootfs, env, workingDir: '/', user: '0:0', entrypoint: [], command: [], healthcheck: undefined }
}

async function followCopy(rootfs: string, copy: Copy, context: string): Promise<void> {
  for (const source of copy.sources) {
    const target = join(rootfs, copy.target.endsWith('/') ? copy.target + basename(source) : copy.target)
    await mkdir(dirname(target), { recursive: true })
    if (copy.from === undefined) await cp(join(context, source), target, { recursive: true })
    else await copyBuilt(context, posix.relative(copy.from.workingDir, source), target)
    if (copy.mode !== undefined) await chmod(target, copy.mode)
  }
}

const buildScript = 'node ../../docker/bundle.ts'

/** A file that the build stage has made: the build script of an app is all that makes any. */
async function copyBuilt(context: string, source: string, target: string): Promise<void> {
  const [, app, file] = /^(apps\/[^/]+)\/dist\/([^/]+)$/.exec(source) ?? []
  if (app === undefined || file === undefined) throw new Error(`how ${source} is built is not known here`)
  await cp(join(await built(join(context, app)), file), target)
}

const builds = new Map<string, Promise<string>>()

/** The folder `dist` of an app, outside of the checkout. */
function built(app: string): Promise<string> {
  const dist = builds.get(app) ?? build(app)
  builds.set(app, dist)
  return dist
}

async function build(app: string): Promise<string> {
  const { scripts } = JSON.parse(await readFile(join(app, 'package.json'), 'utf8'))
  if (scripts?.build !== buildScript) throw new Error(`${app} is built by ${scripts?.build}`)
  const dist = await mkdtemp(join(tmpdir(), 'kbs-dist-'))
  await bundle(app, join(dist, 'main.js'))
  return dist
}

async function nodeRootfs(): Promise<string> {
  const rootfs = await emptyRootfs(nodeBase.users)
  await installProgram(rootfs, process.execPath, nodeBase.program)
  return rootfs
}

async function emptyRootfs(users: readonly string[]): Promise<string> {
  const rootfs = await mkdtemp(join(tmpdir(), 'kbs-image-'))
  await chmod(rootfs, 0o755)
  for (const folder of ['dev', 'etc', 'proc', 'run', 'sbin', 'sys', 'tmp', 'usr/bin', 'usr/local/bin'])
    await mkdir(join(rootfs, folder), { recursive: true })
  await chmod(join(rootfs, 'tmp'), 0o1777)
  const groups = users.map((line) => {
    const [name, , , gid] = line.split(':')
    return `${name}:x:${gid}:`
  })
  await writeFile(join(rootfs, 'etc/passwd'), `${users.join('\n')}\n`)
  await writeFile(join(rootfs, 'etc/group'), `${groups.join('\n')}\n`)
  return rootfs
}

async function installFound(rootfs: string, program: string, folder: string): Promise<void> {
  const { stdout } = await mustRun('which', [program])
  await installProgram(rootfs, stdout.trim(), join(folder, program))
}

/** Puts a program in place with the libraries that it is linked with. */
async function installProgram(rootfs: string, program: string, target: string): Promise<void> {
  await install(program, join(rootfs, target))
  const { stdout } = await mustRun('ldd', [program])
  for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g))
    await install(library, join(rootfs, library))
}

/** By a hard link where that is possible: root file systems are mounted read-only. */
async function install(source: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  const file = await realpath(source)
  await link(file, target).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') await copyFile(file, target)
  })
}

/** A copy for one container, in which mount points may be made. */
export async function copyRootfs({ rootfs }: Image): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'kbs-rootfs-'))
  await mustRun('cp', ['-al', `${rootfs}/.`, copy])
  await chmod(copy, 0o755)
  return copy
}
