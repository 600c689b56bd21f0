import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseConfig } from '@passport-kbs/service'
import { parse as parseToml } from 'smol-toml'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { type KubernetesDeployment, kubernetesDeployments } from '../src/kubernetes/deployments.ts'
import {
  type Container,
  type Manifest,
  type NetworkPolicySpec,
  ofKind,
  type Peer,
  readManifests,
  type Selector,
  type ServiceSpec,
  selects,
  type WorkloadSpec,
  workloadsOf,
} from '../src/kubernetes/manifest.ts'
import { type ManifestCheck, openManifestSchemas } from '../src/kubernetes/manifest-schema.ts'
import { mountedFiles, mountedFolders } from '../src/kubernetes/mounted-files.ts'
import { restrictedViolations } from '../src/kubernetes/pod-security.ts'
import { helmLint, helmTemplate, kubernetesToolsAvailable, toolsFolder } from '../src/kubernetes/tools.ts'

const available = kubernetesToolsAvailable()
const folder = resolve(import.meta.dirname, '../../docker/kubernetes')
/** How long the program may take after its drain time (packages/service/src/lifecycle.ts). */
const hardLimitSeconds = 5

let check: ManifestCheck
beforeAll(() => {
  if (available) check = openManifestSchemas(join(toolsFolder, 'schemas'))
})

/** The Deployment of our program; its only container; its configuration. */
function programOf(manifests: readonly Manifest[]) {
  const [deployment, ...others] = ofKind<WorkloadSpec>(manifests, 'Deployment')
  if (deployment === undefined || others.length > 0) throw new Error('there is one Deployment')
  const pod = deployment.spec.template.spec
  const [container, ...sidecars] = pod.containers
  if (container === undefined || sidecars.length > 0) throw new Error('there is one container')
  const files = mountedFiles(container, pod, manifests)
  const configFile = files.find(({ path }) => path === container.args?.[1])
  const config = ofKind(manifests, 'ConfigMap').find(({ metadata }) => metadata.name === configFile?.name)
  return { deployment, pod, container, files, toml: config?.data?.[configFile?.key ?? ''] ?? '' }
}

const portsOf = (container: Container) =>
  new Map(container.ports?.map((port) => [port.name, port.containerPort]))

describe.skipIf(!available).each(kubernetesDeployments)('$title', (deployment: KubernetesDeployment) => {
  let yaml: string
  let manifests: readonly Manifest[]
  beforeAll(() => {
    const rendering = deployment.render()
    expect(rendering.refusal).toBeUndefined()
    yaml = rendering.yaml
    manifests = readManifests(yaml)
  })

  it('is of kinds and fields that Kubernetes 1.30 and the operators know', () => {
    expect(manifests.length).toBeGreaterThanOrEqual(5)
    expect(
      manifests.flatMap((manifest) => check(manifest).map((text) => `${manifest.kind} ${text}`)),
    ).toEqual([])
  })

  it('puts each object once into the namespace', () => {
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(name).toMatch(/^\w+ kbs\/[a-z0-9][a-z0-9.-]{0,62}$/)
  })

  it('gives every pod what the restricted Pod Security Standard asks, and less', () => {
    for (const { spec } of workloadsOf(manifests)) {
      const pod = spec.template.spec
      expect(restrictedViolations(pod)).toEqual([])
      expect(pod.automountServiceAccountToken).toBe(false)
      expect(pod.enableServiceLinks).toBe(false)
      for (const container of pod.containers) {
        expect(container.securityContext?.readOnlyRootFilesystem).toBe(true)
        expect(container.securityContext?.capabilities?.add).toBeUndefined()
        expect(Object.keys(container.resources?.requests ?? {})).toEqual(['cpu', 'memory'])
        expect(container.resources?.limits).toHaveProperty('memory')
      }
    }
    for (const account of ofKind(manifests, 'ServiceAccount'))
      expect(account.automountServiceAccountToken).toBe(false)
  })

  it('has no secret in it, and no environment that could hold one', () => {
    expect(ofKind(manifests, 'Secret')).toEqual([])
    for (const { spec } of workloadsOf(manifests)) {
      for (const container of spec.template.spec.containers) {
        expect(container.env).toBeUndefined()
        expect(container.envFrom).toBeUndefined()
      }
    }
    expect(yaml).not.toMatch(/PRIVATE KEY|(password|token|api_key) *= *"|:\/\/[^/\s"]*:[^/\s"]*@/)
  })

  it('mounts what it declares, secrets for nobody but the group, and no file by itself, so that changes arrive', () => {
    for (const { spec } of workloadsOf(manifests)) {
      const { volumes = [], containers } = spec.template.spec
      const claims = (spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name ?? '')
      const mounts = containers.flatMap((container) => container.volumeMounts ?? [])
      expect(mounts.map(({ name }) => name).sort()).toEqual(
        [...volumes.map(({ name }) => name), ...claims].sort(),
      )
      for (const mount of mounts) {
        expect(mount.subPath).toBeUndefined()
        if (mount.mountPath !== '/tmp' && mount.mountPath !== '/data') expect(mount.readOnly).toBe(true)
      }
      for (const { projected } of volumes)
        if (projected?.sources.some((source) => source.secret)) expect(projected.defaultMode).toBe(0o440)
    }
  })

  it('takes images by version', () => {
    for (const { spec } of workloadsOf(manifests))
      for (const { image } of spec.template.spec.containers)
        expect(image).toMatch(/^[a-z0-9./-]+:\d+\.\d+\.\d+[a-z0-9-]*(@sha256:[0-9a-f]{64})?$/)
  })

  it('gives the program a configuration that it accepts in the production profile', () => {
    const { toml } = programOf(manifests)
    const config = parseConfig(deployment.program, parseToml(toml), {})
    expect(config.profile).toBe('production')
    expect(config.warnings).toEqual([])
    expect(['Redis', 'Postgres']).toContain(config.storage.data.type)
    expect(config.storage.sessions.type).toBe(config.storage.data.type)
  })

  it('mounts each file that the configuration names, and no other', () => {
    const { files, toml, container, pod } = programOf(manifests)
    const secrets = files.map(({ path }) => path).filter((path) => path.startsWith('/run/secrets/'))
    const named = [...toml.matchAll(/"(\/run\/secrets\/[^"]+)"/g)].map(([, path]) => path ?? '')
    expect([...new Set(secrets)].sort()).toEqual([...new Set(named)].sort())
    expect(new Set(secrets).size).toBe(secrets.length)
    const folders = [...toml.matchAll(/directory = "([^"]+)"/g)].map(([, path]) => path)
    expect(mountedFolders(container, pod)).toEqual(folders)
  })

  it('refers only to ConfigMaps and keys that are there, or that the operator makes', () => {
    const made = ofKind(manifests, 'ConfigMap')
    for (const { spec } of workloadsOf(manifests)) {
      for (const container of spec.template.spec.containers) {
        for (const { kind, name, key } of mountedFiles(container, spec.template.spec, manifests)) {
          const own = made.find(({ metadata }) => kind === 'ConfigMap' && metadata.name === name)
          if (own !== undefined) expect(own.data).toHaveProperty([key])
        }
      }
    }
  })

  it('selects its own pods, and each by one Deployment or StatefulSet only', () => {
    const workloads = workloadsOf(manifests)
    for (const { spec, metadata } of workloads) {
      expect(selects(spec.selector, spec.template.metadata.labels)).toBe(true)
      const owners = workloads.filter((other) => selects(other.spec.selector, spec.template.metadata.labels))
      expect(owners.map((other) => other.metadata.name)).toEqual([metadata.name])
    }
  })

  it('leads each port of a Service to a port of the pods that it selects', () => {
    for (const { spec } of ofKind<ServiceSpec>(manifests, 'Service')) {
      const targets = workloadsOf(manifests).filter((workload) =>
        selects({ matchLabels: spec.selector }, workload.spec.template.metadata.labels),
      )
      expect(targets).toHaveLength(1)
      const ports = targets.flatMap(({ spec }) =>
        spec.template.spec.containers.flatMap((c) => [...portsOf(c).keys()]),
      )
      for (const { targetPort } of spec.ports) expect(ports).toContain(targetPort)
    }
  })

  it('listens on its ports, and is probed there by https without a name', () => {
    const { container, toml } = programOf(manifests)
    const ports = portsOf(container)
    const { httpServer, attestationApi } = parseConfig(deployment.program, parseToml(toml), {})
    expect(httpServer.sockets).toEqual([`0.0.0.0:${ports.get('https')}`])
    if (deployment.program === 'attestation-service')
      expect(attestationApi.grpcSockets).toEqual([`0.0.0.0:${ports.get('grpc')}`])
    const ask = { port: 'https', scheme: 'HTTPS' }
    expect(container.startupProbe?.httpGet).toEqual({ path: '/healthz', ...ask })
    expect(container.livenessProbe?.httpGet).toEqual({ path: '/healthz', ...ask })
    expect(container.readinessProbe?.httpGet).toEqual({ path: '/readyz', ...ask })
  })

  it('ends a pod only after the load balancer has noticed and requests in work have had their time', () => {
    const { pod, container, toml, deployment: workload } = programOf(manifests)
    const { drainTimeoutMs } = parseConfig(deployment.program, parseToml(toml), {}).httpServer
    const preStop = container.lifecycle?.preStop?.sleep?.seconds ?? 0
    // Azure's balancer asks a node every 5 s, and believes the second refusal
    expect(preStop).toBeGreaterThanOrEqual(15)
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(
      preStop + drainTimeoutMs / 1000 + hardLimitSeconds,
    )
    expect(workload.spec.strategy?.rollingUpdate?.maxUnavailable).toBe(0)
  })

  it('never blocks a drain', () => {
    const budgets = ofKind<{ maxUnavailable?: number | string; minAvailable?: unknown; selector: Selector }>(
      manifests,
      'PodDisruptionBudget',
    )
    expect(budgets).toHaveLength(1)
    for (const { spec } of budgets) {
      expect(spec.minAvailable).toBeUndefined()
      expect(Number.parseInt(String(spec.maxUnavailable), 10)).toBeGreaterThan(0)
      expect(selects(spec.selector, programOf(manifests).deployment.spec.template.metadata.labels)).toBe(true)
    }
  })

  it('scales the Deployment by one hand only', () => {
    const scalers = ofKind<{ scaleTargetRef: unknown; minReplicas: number; maxReplicas: number }>(
      manifests,
      'HorizontalPodAutoscaler',
    )
    const { deployment: workload } = programOf(manifests)
    if (scalers.length === 0) expect(workload.spec.replicas).toBeGreaterThan(0)
    else expect(workload.spec.replicas).toBeUndefined()
    for (const { spec } of scalers) {
      expect(spec.scaleTargetRef).toEqual({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        name: workload.metadata.name,
      })
      expect(spec.maxReplicas).toBeGreaterThanOrEqual(spec.minReplicas)
    }
  })

  it('refuses all connections of every pod but those that it names', () => {
    const policies = ofKind<NetworkPolicySpec>(manifests, 'NetworkPolicy')
    expect(policies.length > 0).toBe(deployment.isIsolated)
    if (!deployment.isIsolated) return
    for (const { spec } of workloadsOf(manifests)) {
      const own = policies.filter((policy) => selects(policy.spec.podSelector, spec.template.metadata.labels))
      expect(own).toHaveLength(1)
      const ports = spec.template.spec.containers.flatMap((container) => [...portsOf(container).values()])
      for (const { spec: policy } of own) {
        expect(policy.policyTypes).toEqual(['Ingress', 'Egress'])
        // a rule without peers or ports would admit all of them
        for (const rule of policy.ingress ?? []) {
          expect(rule.from?.length).toBeGreaterThan(0)
          expect(rule.ports?.length).toBeGreaterThan(0)
          for (const { port } of rule.ports ?? []) expect(ports).toContain(port)
        }
        for (const rule of policy.egress ?? []) {
          expect(rule.to?.length).toBeGreaterThan(0)
          expect(rule.ports?.length).toBeGreaterThan(0)
        }
      }
    }
  })

  it('lets the program reach every host and port of its store', () => {
    if (!deployment.isIsolated) return
    const { toml, deployment: workload } = programOf(manifests)
    const own = ofKind<NetworkPolicySpec>(manifests, 'NetworkPolicy').find(({ spec }) =>
      selects(spec.podSelector, workload.spec.template.metadata.labels),
    )
    const reached = own?.spec.egress?.flatMap(({ ports = [] }) => ports.map(({ port }) => port))
    const addresses = toml.slice(toml.indexOf('[storage_backend]'))
    const ports = [...addresses.matchAll(/(?::|port = )(\d{4,5})\b/g)].map(([, port]) => Number(port))
    expect(ports.length).toBeGreaterThan(0)
    for (const port of ports) expect(reached).toContain(port)
  })

  it('sends guests of an ingress to the service', () => {
    type IngressSpec = { rules: { http: { paths: { path: string; backend: { service: unknown } }[] } }[] }
    for (const { spec } of ofKind<IngressSpec>(manifests, 'Ingress')) {
      const service = ofKind<ServiceSpec>(manifests, 'Service').find(({ spec }) =>
        spec.ports.some(({ name }) => name === 'https'),
      )
      for (const { path, backend } of spec.rules.flatMap(({ http }) => http.paths)) {
        expect(['/', '/kbs/', '/.well-known/']).toContain(path)
        expect(backend.service).toEqual({ name: service?.metadata.name, port: { name: 'https' } })
      }
    }
  })

  it('has Prometheus ask the Service', () => {
    type MonitorSpec = { selector: Selector; endpoints: { port: string; scheme: string; path: string }[] }
    for (const { spec } of ofKind<MonitorSpec>(manifests, 'ServiceMonitor')) {
      const services = ofKind<ServiceSpec>(manifests, 'Service').filter(({ metadata }) =>
        selects(spec.selector, metadata.labels),
      )
      expect(services).toHaveLength(1)
      const { metrics } = parseConfig(deployment.program, parseToml(programOf(manifests).toml), {})
      const scheme = metrics.insecureHttp === true ? 'http' : 'https'
      expect(spec.endpoints).toMatchObject([{ port: 'metrics', scheme, path: '/metrics' }])
      expect(services.map(({ spec }) => spec.ports.map(({ name }) => name))).toEqual([['metrics']])
    }
  })

  it('has metrics on a port that no guest and no load balancer comes to', () => {
    const { container, toml, deployment: workload } = programOf(manifests)
    const { metrics, httpServer } = parseConfig(deployment.program, parseToml(toml), {})
    const port = portsOf(container).get('metrics')
    expect(metrics.enabled).toBe(port !== undefined)
    if (port === undefined) return
    expect(metrics.sockets).toEqual([`0.0.0.0:${port}`])
    expect(httpServer.sockets).not.toEqual(metrics.sockets)
    for (const { spec } of ofKind<ServiceSpec & { clusterIP?: string }>(manifests, 'Service')) {
      if (!spec.ports.some(({ targetPort }) => targetPort === 'metrics')) continue
      expect(spec).toMatchObject({ type: 'ClusterIP', clusterIP: 'None' })
      expect(spec.ports).toHaveLength(1)
    }
    for (const { spec } of ofKind<NetworkPolicySpec>(manifests, 'NetworkPolicy')) {
      if (!selects(spec.podSelector, workload.spec.template.metadata.labels)) continue
      for (const { from = [], ports = [] } of spec.ingress ?? []) {
        if (!ports.some((each) => each.port === port)) continue
        expect(ports).toHaveLength(1)
        expect(from.map(({ namespaceSelector }) => namespaceSelector?.matchLabels)).toEqual([
          { 'kubernetes.io/metadata.name': 'monitoring' },
        ])
      }
    }
  })

  it('keeps every name within what Kubernetes makes of it', () => {
    for (const { kind, metadata } of manifests) {
      // a pod's label has the name with a hash of ten characters; a Service is a DNS label
      if (kind === 'StatefulSet') expect(metadata.name.length).toBeLessThanOrEqual(52)
      if (kind === 'Service') expect(metadata.name).toMatch(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/)
      for (const value of Object.values(metadata.labels ?? {}))
        expect(value).toMatch(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/)
    }
  })

  it('has cert-manager make Secrets that the pod mounts, with keys that the program takes', () => {
    type CertificateSpec = { secretName: string; privateKey: unknown }
    for (const { spec } of ofKind<CertificateSpec>(manifests, 'Certificate')) {
      const mounted = programOf(manifests).files.filter(({ name }) => name === spec.secretName)
      expect(mounted.map(({ key }) => key).sort()).toEqual(['tls.crt', 'tls.key'])
      expect(spec.privateKey).toMatchObject({ algorithm: 'ECDSA', size: 256, encoding: 'PKCS8' })
    }
  })

  it('gives the pod the identity with which Key Vault is read', () => {
    const { pod, deployment: workload, toml } = programOf(manifests)
    const classes = ofKind<{ parameters: Record<string, string> }>(manifests, 'SecretProviderClass')
    const csi = pod.volumes?.flatMap((volume) => (volume.csi ? [volume.csi] : [])) ?? []
    expect(csi.map(({ volumeAttributes }) => volumeAttributes?.secretProviderClass)).toEqual(
      classes.map(({ metadata }) => metadata.name),
    )
    if (classes.length === 0 && !toml.includes('vault_uri')) return
    expect(workload.spec.template.metadata.labels).toHaveProperty(['azure.workload.identity/use'], 'true')
    const account = ofKind(manifests, 'ServiceAccount').find(
      ({ metadata }) => metadata.name === pod.serviceAccountName,
    )
    const clientId = account?.metadata.annotations?.['azure.workload.identity/client-id']
    expect(clientId).toMatch(/^[0-9a-f-]{36}$/)
    for (const { spec } of classes) expect(spec.parameters.clientID).toBe(clientId)
  })
})

describe.skipIf(!available)('who may reach whom', () => {
  const rulesOf = (values: readonly string[], direction: 'ingress' | 'egress') => {
    const manifests = readManifests(helmTemplate({ name: 'kbs', values }).yaml)
    const policies = ofKind<NetworkPolicySpec>(manifests, 'NetworkPolicy')
    const own = policies.find(
      ({ spec }) => spec.podSelector.matchLabels['app.kubernetes.io/component'] === 'kbs',
    )
    return (own?.spec[direction] ?? []).map((rule) => {
      const ports = (rule.ports ?? []).map(({ port }) => port)
      return `${(rule.from ?? rule.to ?? []).map(nameOf).join(', ')}: ${ports.join(', ')}`
    })
  }
  const nameOf = ({ ipBlock, namespaceSelector, podSelector }: Peer) =>
    ipBlock?.cidr ??
    [
      ...Object.values(namespaceSelector?.matchLabels ?? {}),
      ...Object.values(podSelector?.matchLabels ?? {}),
    ].join('/')
  const dns = 'kube-system/kube-dns: 53, 53'
  const publicHttps = '0.0.0.0/0, ::/0: 443'

  it('Trustee 1 speaks to its store and, for the vendors, https to public addresses', () => {
    expect(rulesOf(['trustee1'], 'egress')).toEqual([dns, 'redis: 6379', publicHttps])
  })

  it('Trustee 2 speaks to its store and to nobody else', () => {
    expect(rulesOf(['trustee2'], 'egress')).toEqual([dns, 'redis: 6379'])
    expect(rulesOf(['trustee2', 'akv-csi'], 'egress')).toEqual([dns, 'redis: 6379'])
    expect(rulesOf(['trustee2', 'akv-api'], 'egress')).toEqual([dns, 'redis: 6379', publicHttps])
    expect(rulesOf(['trustee2', 'storage-key-in-akv'], 'egress')).toEqual([dns, 'redis: 6379', publicHttps])
  })

  it('guests come from where the values say, Prometheus from its namespace', () => {
    expect(rulesOf(['trustee1', 'ingress', 'monitoring'], 'ingress')).toEqual([
      'ingress-nginx: 8080',
      'monitoring: 9090',
    ])
    expect(rulesOf(['attestation-service'], 'ingress')).toEqual(['kbs/kbs-attest: 8080, 50004'])
  })

  it('Sentinels, the nodes of a Cluster and PostgreSQL are reached on their ports', () => {
    expect(rulesOf(['trustee2', 'redis-sentinel'], 'egress')).toContain('redis: 26379, 6379')
    expect(rulesOf(['trustee2', 'redis-cluster'], 'egress')).toContain('redis: 6379')
    expect(rulesOf(['trustee2', 'postgres'], 'egress')).toContain('postgres: 5432')
  })

  it('the Redis for trying out is reached by the program only, and reaches nobody', () => {
    const manifests = readManifests(helmTemplate({ name: 'kbs', values: ['trustee2', 'trial'] }).yaml)
    const redis = ofKind<NetworkPolicySpec>(manifests, 'NetworkPolicy').find(({ metadata }) =>
      metadata.name.endsWith('-redis'),
    )
    const [from] = redis?.spec.ingress?.[0]?.from ?? []
    expect(
      selects(from?.podSelector ?? {}, programOf(manifests).deployment.spec.template.metadata.labels),
    ).toBe(true)
    expect(from?.podSelector?.matchLabels).toMatchObject({ 'app.kubernetes.io/instance': 'kbs' })
    expect(redis?.spec.ingress).toHaveLength(1)
    expect(redis?.spec.egress).toBeUndefined()
  })
})

describe.skipIf(!available)('the chart', () => {
  const rendered = (set: readonly string[]) =>
    readManifests(helmTemplate({ name: 'kbs', values: ['trustee1'], set }).yaml)

  it('replaces the pods when the configuration changes, and only then', () => {
    const checksum = (set: readonly string[]) =>
      programOf(rendered(set)).deployment.spec.template.metadata.annotations?.['checksum/config']
    expect(checksum([])).toMatch(/^[0-9a-f]{64}$/)
    expect(checksum(['replicas=5'])).toBe(checksum([]))
    expect(checksum(['tokens.minutes=6'])).not.toBe(checksum([]))
  })

  it('merges further keys of the configuration over its own', () => {
    const config = (set: readonly string[]) =>
      parseConfig('kbs-attest', parseToml(programOf(rendered(set)).toml), {})
    const changed = config([
      'config.http_server.payload_request_size=4',
      'config.attestation_service.attestation_token_broker.duration_min=7',
      'config.attestation_service.verifier_config.snp_verifier.crl_policy=require',
    ])
    expect(changed.httpServer).toEqual({ ...config([]).httpServer, payloadRequestSize: 4 })
    expect(changed.attestationService).toMatchObject({
      attestationTokenBroker: { durationMin: 7, issuerName: 'https://trustee1.example' },
      verifierConfig: { snpVerifier: { crlPolicy: 'require' } },
    })
  })

  it.each(['trustee1', 'trustee2', 'background-check', 'attestation-service'])(
    'has nothing that helm lint would point out: %s',
    (example) => {
      expect(helmLint([example])).toEqual({
        yaml: expect.stringContaining('0 chart(s) failed'),
        refusal: undefined,
      })
    },
  )

  it('takes dates and other big numbers of a values file as they are written', () => {
    const inline =
      'rewrap: { enabled: true, suffix: 20261123 }\nconfig: { max_sessions: 10000000, http_server: { max_connections: 1000000 } }\n'
    const { yaml, refusal } = helmTemplate({ name: 'kbs', values: ['trustee1'], inline })
    expect(refusal).toBeUndefined()
    const config = parseConfig('kbs-attest', parseToml(programOf(readManifests(yaml)).toml), {})
    expect(config).toMatchObject({ maxSessions: 10_000_000, httpServer: { maxConnections: 1_000_000 } })
    expect(ofKind(readManifests(yaml), 'Job').map(({ metadata }) => metadata.name)).toEqual([
      'kbs-kbs-attest-rewrap-20261123',
    ])
  })

  it('keeps the Job’s name within a label, with its suffix', () => {
    const [job] = ofKind(
      readManifests(
        helmTemplate({
          name: 'a-release-with-quite-a-long-name-for-what-it-is',
          values: ['trustee2'],
          set: ['rewrap.enabled=true', 'rewrap.suffix=of-november-2026'],
        }).yaml,
      ),
      'Job',
    )
    expect(job?.metadata.name).toMatch(/^a-release-.{1,52}-rewrap-of-november-2026$/)
    expect(job?.metadata.name.length).toBeLessThanOrEqual(63)
  })

  it('puts the Job and the Redis for trying out where the program may be, the Job with all that the program mounts', () => {
    const manifests = readManifests(
      helmTemplate({
        name: 'kbs',
        values: ['trustee2', 'trial'],
        inline: `
imagePullSecrets: [registry]
nodeSelector: { pool: confidential }
tolerations: [{ key: pool, operator: Exists, effect: NoSchedule }]
rewrap: { enabled: true }
extraVolumes:
  - name: vault-token
    projected: { sources: [{ serviceAccountToken: { path: token, audience: vault } }] }
extraVolumeMounts: [{ name: vault-token, mountPath: /var/run/vault, readOnly: true }]
`,
      }).yaml,
    )
    const pods = ['Deployment', 'StatefulSet', 'Job'].map((kind) => {
      const [workload] = ofKind<WorkloadSpec>(manifests, kind)
      return workload?.spec.template.spec
    })
    for (const pod of pods) {
      expect(pod).toMatchObject({
        imagePullSecrets: [{ name: 'registry' }],
        nodeSelector: { pool: 'confidential' },
        tolerations: [{ key: 'pool' }],
      })
    }
    const [program, , job] = pods.map((pod) =>
      pod?.containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ mountPath }) => mountPath)),
    )
    expect([...(job ?? []), '/tmp'].sort()).toEqual([...(program ?? [])].sort())
    expect(pods[2]?.volumes?.map(({ name }) => name)).toContain('vault-token')
  })

  it('has Redis for trying out, however long the release’s name, where the program looks for it', () => {
    const manifests = readManifests(
      helmTemplate({
        name: 'a-release-with-quite-a-long-name-for-what-it-is',
        values: ['trustee1', 'trial'],
      }).yaml,
    )
    const [set] = ofKind(manifests, 'StatefulSet')
    expect(programOf(manifests).toml).toContain(`url = "rediss://${set?.metadata.name}:6379"`)
    expect(ofKind(manifests, 'Service').map(({ metadata }) => metadata.name)).toContain(set?.metadata.name)
  })

  it('takes names that mean something to YAML', () => {
    const manifests = readManifests(
      helmTemplate({
        name: 'kbs',
        values: ['trustee1', 'ingress', 'cert-manager'],
        inline:
          'hostnames: ["*.trustee1.example"]\ncertManager: { tokenSigner: { commonName: "signer: 1 # 2" } }\n',
      }).yaml,
    )
    const [ingress] = ofKind<{ rules: { host: string }[] }>(manifests, 'Ingress')
    expect(ingress?.spec.rules.map(({ host }) => host)).toEqual(['*.trustee1.example'])
    const names = ofKind<{ commonName?: string }>(manifests, 'Certificate').map(({ spec }) => spec.commonName)
    expect(names).toContain('signer: 1 # 2')
  })

  const refusals: readonly [string, readonly string[], RegExp][] = [
    ['an unknown key', ['replcas=3'], /additional properties 'replcas' not allowed/],
    ['an unknown key further down', ['redis.pasword.key=x'], /'\/redis': additional properties 'pasword'/],
    ['a wrong type', ['replicas=many'], /'\/replicas': got string, want integer/],
    ['a program that is not there', ['program=kbs2'], /'\/program': value must be one of/],
    ['a password in an address', ['redis.url=redis://u:p@redis'], /'\/redis\/url'.*does not match pattern/],
    ['a secret in the configuration', ['config.admin.password=x'], /does not belong into a ConfigMap/],
    ['a secret in a list', ['config.a[0].token=x'], /does not belong into a ConfigMap/],
    ['a password in another address', ['config.a.b=amqp://u:p@host'], /an address holds a password/],
    ['a file that is not mounted', ['config.a.b=/run/secrets/kbs/x.pem'], /x.pem, which is not mounted/],
    ['administrators of no audience', ['admin.audience='], /admin.audience is empty/],
    ['passports of no issuer', ['tokens.issuer='], /tokens.issuer and tokens.audience are needed/],
    ['nobody who may come', ['networkPolicy.allowFrom=null'], /networkPolicy.allowFrom is empty/],
    ['a store that cannot be reached', ['networkPolicy.storage=null'], /networkPolicy.storage is empty/],
    ['no store', ['redis.url=,redis.ca=null'], /redis.url is empty/],
    ['two kinds of Redis', ['redis.sentinel.nodes={a:1},redis.cluster.nodes={b:2}'], /only one of/],
    ['a CA without TLS', ['redis.url=redis://redis'], /redis.ca needs redis.url to begin with rediss/],
    [
      'Key Vault without an identity',
      ['program=kbs-resource,secrets.csi.enabled=true'],
      /workloadIdentity.enabled/,
    ],
    [
      'a Kubernetes without names to certify',
      ['hostnames=null,certManager.tls.enabled=true'],
      /hostnames is empty/,
    ],
    ['metrics on the port of guests', ['metrics.port=8080'], /metrics.port: 8080 is the port of guests/],
    ['a name that no Service can have', ['fullnameOverride=1kbs'], /called 1kbs, which no Service can be/],
    [
      'labels by which pods are found',
      ['podLabels.app\\.kubernetes\\.io/name=x'],
      /invalid propertyName 'app.kubernetes.io/,
    ],
    ['a name with a dot', ['fullnameOverride=kbs.one'], /'\/fullnameOverride'.*does not match pattern/],
    [
      'an ingress that ends the TLS of the attestation service’s callers',
      [
        'program=attestation-service,clients.list[0].name=a,clients.list[0].scopes={attest}',
        'clients.list[0].certificateName=a,clients.ca.configMapName=a,clients.ca.key=a',
        'ingress.enabled=true,ingress.mode=reencrypt,ingress.tlsSecretName=a',
      ],
      /ingress.mode: attestation-service knows its callers/,
    ],
    [
      'metrics that nobody can read',
      ['metrics.serviceMonitor.enabled=true'],
      /networkPolicy.prometheus is empty/,
    ],
  ]
  it.each(refusals)('refuses %s, and says what to do', (_, set, message) => {
    expect(helmTemplate({ name: 'kbs', values: ['trustee1'], set }).refusal).toMatch(message)
  })

  it('says everything that is wrong at once', () => {
    const { refusal } = helmTemplate({ name: 'kbs', values: [], set: ['program=kbs'] })
    expect(refusal?.match(/^- /gm)?.length).toBeGreaterThan(3)
  })
})

describe('docker/kubernetes', () => {
  it('has a test for every example of the chart and every kustomization', () => {
    const titles = kubernetesDeployments.map(({ title }) => title)
    for (const file of readdirSync(join(folder, 'helm/passport-kbs/examples')))
      expect(titles.some((title) => title.split(/[ :+,]+/).includes(file.replace(/\.yaml$/, '')))).toBe(true)
    const kustomizations = readdirSync(join(folder, 'kustomize'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('/kustomization.yaml') && !/^(base|components)\//.test(path))
      .map((path) => `kustomize: ${path.replace(/\/kustomization.yaml$/, '')}`)
    for (const title of kustomizations) expect(titles).toContain(title)
  })

  it.each(['trustee1', 'trustee2', 'background-check'])(
    'does not take all guests behind the ingress for one that asks too much: %s',
    (half) => {
      const config = (path: string) =>
        parseToml(readFileSync(join(folder, 'kustomize', path, 'config.toml'), 'utf8'))
      const values: { config: { http_server: Record<string, unknown> } } = parseYaml(
        readFileSync(join(folder, 'helm/passport-kbs/examples/ingress.yaml'), 'utf8'),
      )
      const { http_server: http, ...others } = config(half)
      expect(config(`overlays/ingress/${half}`)).toEqual({
        ...others,
        http_server: { ...(http as object), ...values.config.http_server },
      })
    },
  )

  it('installs the version of this checkout, and for trying out the Redis of the compose files', () => {
    const text = (path: string) => readFileSync(resolve(folder, path), 'utf8')
    const { version } = JSON.parse(text('../../package.json')) as { version: string }
    expect(text('helm/passport-kbs/Chart.yaml')).toContain(`\nappVersion: ${version}\n`)
    for (const half of ['trustee1', 'trustee2', 'background-check'])
      expect(text(`kustomize/${half}/kustomization.yaml`)).toContain(`newTag: ${version}\n`)
    const [, tag, digest] = /redis:([^@\s]+)@(sha256:\w+)/.exec(text('../compose.trustee1.yaml')) ?? []
    expect(text('helm/passport-kbs/values.yaml')).toContain(`tag: ${tag}\n      digest: ${digest}\n`)
  })

  it('has a schema that knows each value of the chart, and no other', () => {
    type Schema = { properties?: Record<string, Schema>; additionalProperties?: unknown }
    const text = (file: string) => readFileSync(join(folder, 'helm/passport-kbs', file), 'utf8')
    const schema: Schema = JSON.parse(text('values.schema.json'))
    /** Helm adds `global` to every chart. */
    const known = (properties: object) => Object.keys(properties).filter((name) => name !== 'global')
    const compare = (at: string, { properties, additionalProperties }: Schema, value: unknown): void => {
      if (properties === undefined || typeof value !== 'object' || value === null) return
      expect(additionalProperties, at).toBe(false)
      const optional = ['resources', 'trial.image'].some((name) => at.endsWith(name))
      if (!optional) expect(Object.keys(value).sort(), at).toEqual(known(properties).sort())
      for (const [name, below] of Object.entries(properties))
        compare(`${at}.${name}`, below, Reflect.get(value, name))
    }
    compare('values', schema, parseYaml(text('values.yaml')))
  })
})
