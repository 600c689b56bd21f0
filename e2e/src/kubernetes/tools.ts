import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where docker/kubernetes/install-tools.sh puts Helm, kustomize and the schemas. */
export const toolsFolder =
  process.env.KBS_KUBERNETES_TOOLS ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'passport-kbs-kubernetes')

const chart = new URL('../../../docker/kubernetes/helm/passport-kbs', import.meta.url).pathname
const kustomizations = new URL('../../../docker/kubernetes/kustomize', import.meta.url).pathname

/**
 * Whether manifests can be rendered and checked here. Where they cannot, says so loudly, and refuses to go on in CI:
 * these tests are not to be lost without anyone noticing.
 */
export function kubernetesToolsAvailable(): boolean {
  if (existsSync(join(toolsFolder, 'installed'))) return true
  const message = `${toolsFolder} is not there: the tests of the Kubernetes manifests CANNOT RUN. With Go: docker/kubernetes/install-tools.sh`
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}

/** What a chart is rendered with, as Helm's command line has it. */
export interface Release {
  readonly name: string
  /** Files of `examples/` without folder and extension, or absolute paths; later ones win. */
  readonly values: readonly string[]
  /** `key=value` of `--set`. */
  readonly set?: readonly string[]
  /** Values in YAML, after the files. */
  readonly inline?: string
}

/** What a tool has written; `refusal` is set when it failed. */
export interface Rendering {
  readonly yaml: string
  readonly refusal: string | undefined
}

/** `helm template` of our chart, for the oldest Kubernetes that it is for. */
export function helmTemplate({ name, values, set = [], inline }: Release): Rendering {
  const files = values.map((file) => (file.startsWith('/') ? file : join(chart, 'examples', `${file}.yaml`)))
  return run(
    'helm',
    [
      ...['template', name, chart, '--namespace', 'kbs', '--kube-version', '1.30.0'],
      ...[...files, ...(inline === undefined ? [] : ['-'])].flatMap((file) => ['--values', file]),
      ...set.flatMap((assignment) => ['--set', assignment]),
    ],
    inline,
  )
}

/** What `helm lint` says of our chart with these examples; warnings are refusals. */
export function helmLint(examples: readonly string[]): Rendering {
  const files = examples.flatMap((file) => ['--values', join(chart, 'examples', `${file}.yaml`)])
  return run('helm', ['lint', chart, '--strict', ...files])
}

/** What `kubectl apply -k` would apply. @param folder below docker/kubernetes/kustomize */
export function kustomizeBuild(folder: string): Rendering {
  return run('kustomize', ['build', join(kustomizations, folder)])
}

function run(tool: 'helm' | 'kustomize', args: readonly string[], input = ''): Rendering {
  const { status, stdout, stderr } = spawnSync(join(toolsFolder, 'bin', tool), args, {
    encoding: 'utf8',
    input,
    timeout: 60_000,
    // nothing of a developer's own Helm: repositories, plugins, cluster
    env: { HOME: '/nonexistent', PATH: '/usr/bin:/bin' },
  })
  return { yaml: stdout, refusal: status === 0 ? undefined : stderr }
}
