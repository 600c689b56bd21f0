import type { Program } from '@passport-kbs/service'
import { helmTemplate, kustomizeBuild, type Release, type Rendering } from './tools.ts'

/** One way to install one of our programs. */
export interface KubernetesDeployment {
  readonly title: string
  readonly program: Program
  /** Whether NetworkPolicies keep its pods apart from others. */
  readonly isIsolated: boolean
  readonly render: () => Rendering
}

const base = {
  trustee1: 'kbs-attest',
  trustee2: 'kbs-resource',
  'background-check': 'kbs',
  'attestation-service': 'attestation-service',
} as const satisfies Record<string, Program>
type Base = keyof typeof base

/** Every example of the chart, over each base that it is for at least once, and several at a time. */
const examples: readonly (readonly [Base, ...string[]])[] = [
  ['trustee1'],
  ['trustee2'],
  ['background-check'],
  ['attestation-service'],
  ['trustee1', 'trial'],
  ['trustee2', 'trial'],
  ['background-check', 'trial'],
  ['trustee1', 'redis-sentinel'],
  ['trustee2', 'redis-cluster'],
  ['trustee1', 'postgres'],
  ['background-check', 'postgres', 'monitoring'],
  ['trustee1', 'remote-attestation'],
  ['background-check', 'remote-attestation'],
  ['attestation-service', 'trial'],
  ['trustee1', 'cert-manager', 'ingress'],
  ['trustee1', 'intel-trust-authority'],
  ['background-check', 'intel-trust-authority', 'accept-intel-trust-authority'],
  ['trustee2', 'accept-intel-trust-authority'],
  ['trustee2', 'akv-csi'],
  ['trustee2', 'storage-key-in-akv'],
  ['trustee2', 'akv-api', 'redis-sentinel', 'ingress', 'monitoring'],
]

/** What operators may well write, besides the examples. */
const odd: readonly Release[] = [
  { name: 'a-release-with-quite-a-long-name-for-what-it-is', values: ['trustee1', 'trial'] },
  { name: 'kbs', values: ['trustee2'], set: ['fullnameOverride=secrets', 'nameOverride=broker'] },
  { name: 'kbs', values: ['trustee1'], set: ['admin.enabled=false', 'metrics.enabled=false', 'replicas=1'] },
  { name: 'kbs', values: ['trustee1'], set: ['service.type=NodePort', 'service.nodePort=30443'] },
  { name: 'kbs', values: ['trustee2'], set: ['networkPolicy.enabled=false', 'imagePullSecrets={registry}'] },
  {
    name: 'kbs',
    values: ['trustee2', 'monitoring'],
    inline: `
image: { repository: registry.example/kbs-resource, digest: "sha256:${'ab'.repeat(32)}" }
preStopSeconds: 20
drainSeconds: 45
ingress: { enabled: true, mode: reencrypt, tlsSecretName: ingress-tls }
podDisruptionBudget: { maxUnavailable: 25% }
storage:
  encryption:
    require: true
    previousKeys: [{ secretName: kbs-storage-key-former, key: storage.key }]
nodeSelector: { pool: confidential }
tolerations: [{ key: pool, operator: Exists, effect: NoSchedule }]
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector: { matchLabels: { app.kubernetes.io/component: kbs } }
networkPolicy:
  extraEgress: [{ to: [{ ipBlock: { cidr: 10.1.2.3/32 } }], ports: [8200] }]
config:
  policy: { deny_status: 403 }
  plugins:
    - name: resource
      storage_backend_type: Vault
      vault_url: https://vault.example:8200
      kv_version: 2
      ca_certs: [/run/secrets/kbs/vault-ca.pem]
      kubernetes: { role: kbs, jwt_file: /var/run/vault/token }
extraFiles: [{ path: vault-ca.pem, configMapName: vault, key: ca.crt }]
extraVolumes:
  - name: vault-token
    projected: { sources: [{ serviceAccountToken: { path: token, audience: vault } }] }
extraVolumeMounts: [{ name: vault-token, mountPath: /var/run/vault, readOnly: true }]
`,
  },
]

/** Every folder that `kubectl apply -k` can be told. */
const kustomizations: readonly [string, Program][] = [
  ['trustee1', 'kbs-attest'],
  ['trustee2', 'kbs-resource'],
  ['background-check', 'kbs'],
  ['overlays/nodeport/trustee1', 'kbs-attest'],
  ['overlays/nodeport/trustee2', 'kbs-resource'],
  ['overlays/nodeport/background-check', 'kbs'],
  ['overlays/ingress/trustee1', 'kbs-attest'],
  ['overlays/ingress/trustee2', 'kbs-resource'],
  ['overlays/ingress/background-check', 'kbs'],
  ['overlays/ita/trustee1', 'kbs-attest'],
  ['overlays/ita/trustee2', 'kbs-resource'],
  ['overlays/akv', 'kbs-resource'],
]

/** The chart with its examples and with odd values, and every kustomization. */
export const kubernetesDeployments: readonly KubernetesDeployment[] = [
  ...examples.map((values): KubernetesDeployment => {
    const program = base[values[0]]
    return {
      title: `chart: ${values.join(' + ')}`,
      program,
      isIsolated: true,
      render: () => helmTemplate({ name: program, values }),
    }
  }),
  ...odd.map((release, index): KubernetesDeployment => {
    const [first] = release.values
    return {
      title: `chart: ${release.values.join(' + ')}, odd values ${index + 1}`,
      program: base[first as Base],
      isIsolated: !release.set?.includes('networkPolicy.enabled=false'),
      render: () => helmTemplate(release),
    }
  }),
  ...kustomizations.map(
    ([folder, program]): KubernetesDeployment => ({
      title: `kustomize: ${folder}`,
      program,
      isIsolated: true,
      render: () => kustomizeBuild(folder),
    }),
  ),
]
