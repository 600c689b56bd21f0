import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Program as ConfigProgram, parseConfig } from '@passport-kbs/service'
import { type RedisServer, redisAvailable, startRedis } from '@passport-kbs/testing/redis'
import { parse as parseToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { guideCommands, guideFences, guideObjects, kubernetesGuide } from '../src/kubernetes/guide.ts'
import { mountFiles, probe } from '../src/kubernetes/kubelet.ts'
import {
  type Container,
  type Manifest,
  ofKind,
  readManifests,
  type WorkloadSpec,
  workloadsOf,
} from '../src/kubernetes/manifest.ts'
import { openManifestSchemas } from '../src/kubernetes/manifest-schema.ts'
import { type MountedFile, mountedFiles } from '../src/kubernetes/mounted-files.ts'
import { restrictedViolations } from '../src/kubernetes/pod-security.ts'
import {
  helmTemplate,
  kubernetesToolsAvailable,
  kustomizeBuild,
  type Rendering,
  toolsFolder,
} from '../src/kubernetes/tools.ts'
import { type Program, runKbsctl, startProgram } from '../src/program.ts'

const available = kubernetesToolsAvailable()
const root = resolve(import.meta.dirname, '../..')
const chart = 'docker/kubernetes/helm/passport-kbs'
const page = readFileSync(kubernetesGuide, 'utf8')
const commands = guideCommands()

/** Which example `values.yaml` of the page is made from. */
const examples = { 'kbs-attest': 'trustee1', 'kbs-resource': 'trustee2' } as const
const isExample = (name: string): name is keyof typeof examples => name in examples

/** The page's way to install, as `helm template` renders it. */
function renderCommand(words: readonly string[]): Rendering {
  const at = words.indexOf(chart)
  const name = words[at - 1] ?? ''
  const valuesOf = (option: string) =>
    words.flatMap((word, index) => (words[index - 1] === option ? [word] : []))
  const values = valuesOf('-f').map((file) =>
    file === 'values.yaml' && isExample(name) ? examples[name] : join(root, file),
  )
  return helmTemplate({ name, values, set: valuesOf('--set') })
}

/** `kbsctl init` of the page, run in a folder; the servers are on loopback here, too. */
async function runInit(folder: string): Promise<void> {
  for (const words of commands.filter(([tool, command]) => tool === 'kbsctl' && command === 'init')) {
    const args = words
      .slice(1)
      .map((word, index) =>
        words[index] === '--dns' || words[index] === '--redis-dns' ? `${word},localhost` : word,
      )
    const { code, stderr } = await runKbsctl(args, { cwd: folder })
    expect(stderr + String(code)).toMatch(/0$/)
    // Trustee 1 hands it over
    const { status } = spawnSync('cp', ['trustee1/token-ca.pem', 'token-ca.pem'], { cwd: folder })
    expect(status).toBe(0)
  }
}

let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubernetes-guide-'))
  await runInit(folder)
}, 60_000)
afterAll(() => rm(folder, { recursive: true }))

describe('docs/deploy-kubernetes.md', () => {
  it('has shell blocks that a shell understands', () => {
    for (const { text } of guideFences().filter(({ language }) => language === 'sh')) {
      const { status, stderr } = spawnSync('bash', ['-n', '-c', text], { encoding: 'utf8' })
      expect(stderr).toBe('')
      expect(status).toBe(0)
    }
  })

  it('links to files and headings that are there', () => {
    const anchor = (heading: string) =>
      heading
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-')
    const anchors = [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchor(heading))
    for (const [, target = ''] of page.matchAll(/\]\(([^)]+)\)/g)) {
      const [file = '', fragment] = target.split('#')
      if (file !== '') expect(existsSync(join(dirname(kubernetesGuide), file)), target).toBe(true)
      else expect(anchors).toContain(fragment)
    }
  })

  it('puts into Secrets what kbsctl init has made, and nothing that belongs in no cluster', () => {
    const files = guideObjects().flatMap((made) => [...made.files.values()])
    const made = files.filter((file) => /^(trustee[12]|as)\//.test(file))
    expect(made.length).toBeGreaterThan(15)
    for (const file of made) {
      expect(existsSync(join(folder, file)), file).toBe(true)
      expect(file).not.toMatch(/offline|ca\.key/)
    }
  })
})

describe.skipIf(!available)('what the page installs', () => {
  const check = available ? openManifestSchemas(join(toolsFolder, 'schemas')) : () => []
  const accept = ({ yaml, refusal }: Rendering): readonly Manifest[] => {
    expect(refusal).toBeUndefined()
    const manifests = readManifests(yaml)
    expect(manifests.flatMap(check)).toEqual([])
    return manifests
  }

  const installs = commands.filter(
    ([tool, action, ...words]) => tool === 'helm' && action !== undefined && words.includes(chart),
  )
  it.each(installs.map((words) => [words.join(' '), words] as const))('renders: %s', (_, words) => {
    expect(accept(renderCommand(words)).length).toBeGreaterThan(4)
  })

  const kustomized = commands.filter(([, , flag]) => flag === '-k')
  it.each(kustomized.map((words) => [words.join(' '), words] as const))('renders: %s', (_, words) => {
    accept(kustomizeBuild(words[3]?.replace('docker/kubernetes/kustomize/', '') ?? ''))
  })

  const yamls = guideFences().filter(({ language }) => language === 'yaml')
  it.each(yamls.map(({ text }) => [text.split('\n')[1] ?? '', text] as const))(
    'has values that render: %s …',
    (_, text) => {
      const [, over = ''] = /^# over (\w+)$/m.exec(text) ?? []
      const name = over === 'trustee1' ? 'kbs-attest' : 'kbs-resource'
      accept(helmTemplate({ name, values: [over], inline: text }))
    },
  )

  it('renders a Job that brings stored values under the current key, and lets it reach the store only', () => {
    const [words = []] = commands.filter((line) => line.includes('templates/rewrap.yaml'))
    const manifests = accept(renderCommand(words))
    const [job] = ofKind<WorkloadSpec>(manifests, 'Job')
    const pod = job?.spec.template.spec
    const [container] = pod?.containers ?? []
    if (job === undefined || pod === undefined || container === undefined) throw new Error('there is a Job')
    expect(page).toContain(`job/${job.metadata.name}`)
    expect(restrictedViolations(pod)).toEqual([])
    expect(container.args).toEqual(['storage', 'rewrap', '--config-file=/etc/passport-kbs/config.toml'])
    const files = mountedFiles(container, pod, manifests).map(({ path }) => path)
    expect(files).toEqual(
      expect.arrayContaining(['/etc/passport-kbs/config.toml', '/run/secrets/kbs/storage.key']),
    )
    const policies = ofKind<{ podSelector: { matchLabels: object }; ingress?: unknown; egress: unknown[] }>(
      manifests,
      'NetworkPolicy',
    ).filter(({ metadata }) => metadata.name.endsWith('-rewrap'))
    expect(policies).toHaveLength(1)
    expect(job.spec.template.metadata.labels).toMatchObject(policies[0]?.spec.podSelector.matchLabels ?? {})
    expect(policies[0]?.spec.ingress).toBeUndefined()
    expect(policies[0]?.spec.egress).toHaveLength(2)
  })

  it('finds every Secret and ConfigMap that it needs made by a command of the page', () => {
    const made = new Set(
      guideObjects().flatMap(({ kind, name, files }) =>
        [...files.keys()].map((key) => `${kind} ${name} ${key}`),
      ),
    )
    const renderings = [
      helmTemplate({ name: 'kbs-attest', values: ['trustee1', 'trial'] }),
      helmTemplate({ name: 'kbs-attest', values: ['trustee1', 'postgres'] }),
      helmTemplate({ name: 'kbs-attest', values: ['trustee1', 'intel-trust-authority'] }),
      helmTemplate({ name: 'kbs-resource', values: ['trustee2'] }),
      helmTemplate({ name: 'kbs', values: ['background-check'] }),
      helmTemplate({ name: 'attestation-service', values: ['attestation-service', 'trial'] }),
      helmTemplate({ name: 'kbs-attest', values: ['trustee1', 'remote-attestation'] }),
      ...['trustee1', 'trustee2', 'background-check', 'overlays/ita/trustee1'].map(kustomizeBuild),
    ]
    for (const rendering of renderings) {
      const manifests = accept(rendering)
      const own = ofKind(manifests, 'ConfigMap').map(({ metadata }) => metadata.name)
      for (const { spec } of workloadsOf(manifests)) {
        for (const container of spec.template.spec.containers) {
          for (const { kind, name, key } of mountedFiles(container, spec.template.spec, manifests))
            if (!own.includes(name)) expect(made).toContain(`${kind} ${name} ${key}`)
        }
      }
    }
  })
})

const halves: readonly ['kbs-attest' | 'kbs-resource', 'trustee1' | 'trustee2'][] = [
  ['kbs-attest', 'trustee1'],
  ['kbs-resource', 'trustee2'],
]
describe.skipIf(!available || !redisAvailable())('started as the page installs it to try out', () => {
  describe.each(halves)('%s', (program, trustee) => {
    let redis: RedisServer
    let running: Program
    let container: Container
    let graceSeconds: number

    /** The content of a Secret or ConfigMap that the page makes, for this half or for both alike. */
    const made = ({ kind, name, key }: MountedFile): Uint8Array => {
      const files = guideObjects()
        .filter((object) => object.kind === kind && object.name === name)
        .flatMap((object) => object.files.get(key) ?? [])
      const file = files.find((candidate) => candidate.startsWith(trustee)) ?? files[0]
      if (file === undefined) throw new Error(`the page makes no ${kind} ${name} with ${key}`)
      return readFileSync(join(folder, file.replace(/^trustee\d/, trustee)))
    }

    beforeAll(async () => {
      const manifests = readManifests(helmTemplate({ name: program, values: [trustee, 'trial'] }).yaml)
      redis = await startTrialRedis(manifests)
      const [deployment] = ofKind<WorkloadSpec>(manifests, 'Deployment')
      const pod = deployment?.spec.template.spec
      const [only] = pod?.containers ?? []
      if (pod === undefined || only === undefined) throw new Error('there is a pod')
      container = only
      graceSeconds = (pod.terminationGracePeriodSeconds ?? 0) - (only.lifecycle?.preStop?.sleep?.seconds ?? 0)
      const mounts = join(folder, `${trustee}-mounts`)
      const files = mountedFiles(container, pod, manifests)
      // where the pod has its own network and root, this machine has ports and folders
      const here = (toml: string) =>
        toml
          .replaceAll('"/run/secrets/', `"${mounts}/run/secrets/`)
          .replaceAll(/"0\.0\.0\.0:(8080|9090)"/g, '"127.0.0.1:0"')
          .replace(`rediss://${program}-redis:6379`, `rediss://localhost:${redis.port}`)
      await mountFiles(mounts, files, (file) => {
        const own = ofKind(manifests, 'ConfigMap').find(({ metadata }) => metadata.name === file.name)
        return own === undefined ? made(file) : here(own.data?.[file.key] ?? '')
      })
      running = await startProgram(program, { configFile: join(mounts, container.args?.[1] ?? '') })
    }, 60_000)
    afterAll(async () => {
      await running?.kill()
      await redis?.stop()
    })

    /** Redis with the rendered configuration and the mounted files, but on a port and in a folder of its own. */
    async function startTrialRedis(manifests: readonly Manifest[]): Promise<RedisServer> {
      const [set] = ofKind<WorkloadSpec>(manifests, 'StatefulSet')
      const pod = set?.spec.template.spec
      const [only] = pod?.containers ?? []
      if (pod === undefined || only === undefined) throw new Error('there is a Redis')
      const mounts = join(folder, `${trustee}-redis`)
      const files = mountedFiles(only, pod, manifests)
      const own = ofKind(manifests, 'ConfigMap').find(({ metadata }) => metadata.name.endsWith('-redis'))
      const conf = own?.data?.['redis.conf'] ?? ''
      await mountFiles(mounts, files, (file) => (file.name === own?.metadata.name ? conf : made(file)))
      const settings = conf.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      const fileOf = (setting: string) => {
        const line = settings.find((candidate) => candidate.startsWith(`${setting} `)) ?? ''
        return readFileSync(join(mounts, line.slice(setting.length + 1)), 'utf8')
      }
      return startRedis({
        tls: {
          certificate: fileOf('tls-cert-file'),
          privateKey: fileOf('tls-key-file'),
          ca: fileOf('tls-ca-cert-file'),
        },
        directives: settings
          .filter((line) => !/^(port|dir|tls-port|tls-\S+-file) /.test(line))
          .map((line) => line.replace('/run/secrets/', `${mounts}/run/secrets/`)),
      })
    }

    const ask = (kind: 'startupProbe' | 'readinessProbe' | 'livenessProbe') =>
      probe(running.url, container[kind] ?? {})
    const eventually = (status: number) =>
      expect.poll(() => ask('readinessProbe'), { timeout: 15_000, interval: 250 }).toBe(status)

    it('has started, is ready and lives, by its probes', async () => {
      expect(await ask('startupProbe')).toBe(200)
      await eventually(200)
      expect(await ask('livenessProbe')).toBe(200)
    })

    it('serves metrics by plain HTTP on the port for Prometheus, and not to guests', async () => {
      const { metrics } = await running.logged(({ msg }) => msg === 'metrics listening')
      const [url = ''] = metrics as string[]
      expect(await (await fetch(`${url}/metrics`)).text()).toContain('kbs_build_info')
      const asGuest = { httpGet: { path: '/metrics', port: 'https', scheme: 'HTTPS' } }
      expect(await probe(running.url, asGuest)).toBe(404)
    })

    it('says nothing at start that an operator would have to look into', () => {
      expect(running.log().filter(({ level }) => Number(level) >= 40)).toEqual([])
      expect(running.log().find(({ msg }) => msg === 'listening')).toMatchObject({ profile: 'production' })
    })

    if (program === 'kbs-resource') {
      it('takes a resource policy from the administrator, as the page says', async () => {
        const shown = commands.filter(([tool, command]) => tool === 'kbsctl' && command !== 'init')
        expect(shown).toHaveLength(2)
        for (const words of shown) {
          const [command, file] = words.join(' ').split(' > ')
          const args = (command ?? '').replace(
            'https://trustee2.example',
            running.url.replace('127.0.0.1', 'localhost'),
          )
          const { code, stdout, stderr } = await runKbsctl(args.split(' ').slice(1), { cwd: folder })
          expect(stderr + String(code)).toMatch(/0$/)
          if (file !== undefined) writeFileSync(join(folder, file), stdout)
        }
        expect(running.log().filter(({ audit }) => audit === true)).not.toEqual([])
      })
    }

    it('is not ready while Redis is gone, but lives, and is ready again without hands', async () => {
      await redis.kill()
      await eventually(503)
      expect(await ask('livenessProbe')).toBe(200)
      await redis.restart()
      await eventually(200)
    })

    it('ends by SIGTERM well within what is left of the grace period', async () => {
      const start = performance.now()
      expect(await running.stop()).toBe(0)
      expect((performance.now() - start) / 1000).toBeLessThan(graceSeconds)
    })
  })

  it('accepts on one side the issuer and audience of the other', () => {
    const config = (program: ConfigProgram, trustee: string) => {
      const manifests = readManifests(helmTemplate({ name: program, values: [trustee] }).yaml)
      return parseConfig(
        program,
        parseToml(ofKind(manifests, 'ConfigMap')[0]?.data?.['config.toml'] ?? ''),
        {},
      )
    }
    const [issuer] = config('kbs-resource', 'trustee2').attestationToken.issuers
    expect(config('kbs-attest', 'trustee1').attestationService).toMatchObject({
      attestationTokenBroker: { issuerName: issuer?.issuer, audience: issuer?.audience },
    })
  })
})
