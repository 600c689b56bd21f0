import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { containersAvailable } from '../src/containers/availability.ts'
import { milliseconds, readComposeFile } from '../src/containers/compose-file.ts'
import { readDockerfile } from '../src/containers/dockerfile.ts'
import { writableTargets } from '../src/containers/mounts.ts'
import { removeLeftovers } from '../src/containers/network-namespace.ts'

/** How faithful the runs of the compose files are depends on how these files are read. */
describe('a compose file', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kbs-compose-'))
  })
  const read = async (text: string, env: Readonly<Record<string, string>> = {}) => {
    const file = join(folder, 'compose.yaml')
    await writeFile(file, text)
    return readComposeFile(file, env)
  }
  const service = async (body: string, env: Readonly<Record<string, string>> = {}) =>
    (
      await read(`services:\n  app:\n    image: a\n${body}\nsecrets:\n  key: {file: ./key.pem}\n`, env)
    ).services.get('app')

  it('has the variables of whoever calls the engine, or their defaults; $$ is a dollar', async () => {
    const text = `    user: "\${ID:-1000}:\${GROUP-5}"\n    command: [a, "$$(b)", "$NAME"]`
    expect(await service(text, { ID: '', NAME: 'n' })).toMatchObject({
      user: '1000:5',
      command: ['a', '$(b)', 'n'],
    })
    await expect(service(`    user: "\${ID:?who}"`)).rejects.toThrow('ID: who')
  })

  it('mounts secrets below /run/secrets, read-only, and paths that are relative to the file', async () => {
    const text = '    volumes: ["./c:/etc/c:ro", "../d:/d"]\n    secrets: [key]'
    expect((await service(text))?.mounts).toEqual([
      { source: join(folder, 'c'), target: '/etc/c', readOnly: true, create: true },
      { source: join(folder, '../d'), target: '/d', readOnly: false, create: true },
      { source: join(folder, 'key.pem'), target: '/run/secrets/key', readOnly: true, create: false },
    ])
  })

  it.each([
    ['a key of a service', '    privileged: true', 'privileged'],
    ['a key of a health check', '    healthcheck: {test: [CMD, a], start_interval: 1s}', 'start_interval'],
    ['a security option', '    security_opt: ["seccomp:unconfined"]', 'seccomp:unconfined'],
    ['a network mode', '    network_mode: host', 'host'],
    ['a form of port', '    ports: ["8080"]', '8080'],
    ['a named volume', '    volumes: ["data:/data"]', 'data'],
    ['a restart policy', '    restart: sometimes', 'sometimes'],
    ['a network that is not declared', '    networks: [store]', 'store'],
    ['a secret that is not declared', '    secrets: [other]', 'other'],
  ])('is refused where %s is not known, so that nothing is left out in silence', async (_, body, named) => {
    await expect(service(body)).rejects.toThrow(named)
  })

  it('has durations as Go writes them', () => {
    expect(milliseconds('1m30s', 0)).toBe(90_000)
    expect(milliseconds('500ms', 0)).toBe(500)
    expect(() => milliseconds('soon', 0)).toThrow('soon')
  })
})

describe('a Dockerfile', () => {
  const text = `# comment
ARG BASE=base
FROM \${BASE}:1 AS build
WORKDIR /src
RUN make
FROM other:2@sha256:00
ARG APP
ENV A=1 B=2
WORKDIR /app
COPY --from=build --chmod=0444 /src/apps/\${APP}/dist/main.js \\
  main.mjs
COPY docker/a docker/b folder/
USER 5:6
HEALTHCHECK --interval=2s --retries=4 CMD ["node", "check"]
ENTRYPOINT ["node"]
CMD ["x"]
`

  it('gives what its last stage says, with the build’s arguments', () => {
    const stage = readDockerfile(text, { APP: 'kbs' }, undefined)
    expect(stage).toMatchObject({
      base: 'other:2@sha256:00',
      env: { A: '1', B: '2' },
      workingDir: '/app',
      user: '5:6',
      entrypoint: ['node'],
      command: ['x'],
      healthcheck: { test: ['node', 'check'], patienceMs: 8_000 },
      commands: [],
    })
    expect(stage.copies).toMatchObject([
      {
        from: { base: 'base:1' },
        sources: ['/src/apps/kbs/dist/main.js'],
        target: '/app/main.mjs',
        mode: 0o444,
      },
      { from: undefined, sources: ['docker/a', 'docker/b'], target: '/app/folder/' },
    ])
    expect(readDockerfile(text, {}, 'build')).toMatchObject({ base: 'base:1', commands: ['make'] })
  })

  it('is refused where an instruction is not known', () => {
    expect(() => readDockerfile('FROM a\nADD x y', {}, undefined)).toThrow('ADD')
    expect(() => readDockerfile('FROM a\nCMD node x', {}, undefined)).toThrow()
  })
})

it('what can be written to is told from what the kernel mounts in every container', () => {
  const mountinfo = [
    '1 0 8:1 /rootfs / ro,relatime - ext4 /dev/vda rw',
    '2 1 0:5 / /proc rw,nosuid - proc proc rw',
    '3 1 0:6 / /dev rw,nosuid - tmpfs tmpfs rw',
    '4 1 8:1 /data /data rw,relatime shared:1 - ext4 /dev/vda rw',
    '5 1 0:7 / /tmp rw,nosuid,noexec - tmpfs tmpfs rw,size=16384k',
  ]
  expect(writableTargets(`${mountinfo.join('\n')}\n`)).toEqual(['/data', '/tmp'])
})

describe.skipIf(!containersAvailable())('network namespaces', () => {
  it('of a run that was killed are removed by the next, with what still runs in them; those of others stay', async () => {
    const ip = (...args: string[]) => spawnSync('ip', args, { encoding: 'utf8' })
    // no process has such a number: the kernel's limit is 2^22
    const left = 'kbse2e-99999999-1-left'
    const other = `other-${process.pid}`
    for (const name of [left, other]) expect(ip('netns', 'add', name).status).toBe(0)
    const { stdout } = ip('netns', 'exec', left, 'sh', '-c', 'sleep 60 >/dev/null 2>&1 & echo $!')
    try {
      removeLeftovers()
      const names = ip('netns', 'list').stdout
      expect(names).not.toContain(left)
      expect(names).toContain(other)
      await expect.poll(() => isAlive(stdout.trim())).toBe(false)
    } finally {
      ip('netns', 'delete', other)
    }
  })
})

/** Dead ones that nobody has waited for do not count. */
function isAlive(pid: string): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
