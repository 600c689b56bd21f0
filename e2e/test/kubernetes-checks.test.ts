import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Manifest, type PodSpec, readManifests } from '../src/kubernetes/manifest.ts'
import { openManifestSchemas } from '../src/kubernetes/manifest-schema.ts'
import { restrictedViolations } from '../src/kubernetes/pod-security.ts'
import { kubernetesToolsAvailable, toolsFolder } from '../src/kubernetes/tools.ts'

describe('the rules of the restricted Pod Security Standard', () => {
  const context = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } }
  const container = { name: 'kbs', image: 'kbs:1.0.0', securityContext: context }
  const good: PodSpec = {
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [container],
  }
  const inPod = (change: object): PodSpec => ({
    ...good,
    securityContext: { ...good.securityContext, ...change },
  })
  const inContainer = (change: object): PodSpec => ({
    ...good,
    containers: [{ ...container, securityContext: { ...context, ...change } }],
  })

  it('accept a pod that follows them', () => {
    expect(restrictedViolations(good)).toEqual([])
    expect(
      restrictedViolations(inContainer({ capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } })),
    ).toEqual([])
  })

  const cases: readonly [string, PodSpec, string][] = [
    ['the network of the host', { ...good, hostNetwork: true }, 'pod: hostNetwork'],
    ['the processes of the host', { ...good, hostPID: true }, 'pod: hostPID'],
    ['the IPC of the host', { ...good, hostIPC: true }, 'pod: hostIPC'],
    [
      'a folder of the host',
      { ...good, volumes: [{ name: 'v', hostPath: { path: '/' } } as never] },
      'volume v: hostPath',
    ],
    [
      'a port of the host',
      { ...good, containers: [{ ...container, ports: [{ name: 'p', containerPort: 1, hostPort: 1 }] }] },
      'kbs: hostPort',
    ],
    [
      'a probe of another host',
      {
        ...good,
        containers: [{ ...container, livenessProbe: { tcpSocket: { port: 1, host: '10.0.0.1' } } }],
      },
      'kbs: a probe names a host',
    ],
    ['root by number', inPod({ runAsUser: 0 }), 'pod: runAsUser is 0'],
    ['root by number in the container', inContainer({ runAsUser: 0 }), 'kbs: runAsUser is 0'],
    ['a user of whom nothing is said', inPod({ runAsNonRoot: undefined }), 'kbs: runAsNonRoot is not true'],
    ['root in the container', inContainer({ runAsNonRoot: false }), 'kbs: runAsNonRoot is false'],
    ['no seccomp profile', inPod({ seccompProfile: undefined }), 'kbs: there is no seccompProfile'],
    [
      'no confinement',
      inContainer({ seccompProfile: { type: 'Unconfined' } }),
      'kbs: seccompProfile is Unconfined',
    ],
    ['no AppArmor', inPod({ appArmorProfile: { type: 'Unconfined' } }), 'pod: appArmorProfile is Unconfined'],
    ['another SELinux type', inPod({ seLinuxOptions: { type: 'spc_t' } }), 'pod: seLinuxOptions.type'],
    ['a SELinux role', inContainer({ seLinuxOptions: { role: 'r' } }), 'kbs: seLinuxOptions user or role'],
    ['sysctls', inPod({ sysctls: [{ name: 'kernel.msgmax', value: '1' }] }), 'pod: sysctls'],
    ['a host process', inPod({ windowsOptions: { hostProcess: true } }), 'pod: hostProcess'],
    ['privileges', inContainer({ privileged: true }), 'kbs: privileged'],
    [
      'more privileges later',
      inContainer({ allowPrivilegeEscalation: undefined }),
      'kbs: allowPrivilegeEscalation is not false',
    ],
    ['capabilities that are left', inContainer({ capabilities: {} }), 'kbs: capabilities.drop lacks ALL'],
    [
      'capabilities',
      inContainer({ capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } }),
      'kbs: capabilities.add',
    ],
    ['an open /proc', inContainer({ procMount: 'Unmasked' }), 'kbs: procMount'],
    [
      'any of it in an init container',
      {
        ...good,
        initContainers: [{ ...container, name: 'init', securityContext: { ...context, privileged: true } }],
      },
      'init: privileged',
    ],
  ]
  it.each(cases)('refuse %s', (_, pod, violation) => {
    expect(restrictedViolations(pod)).toContain(violation)
  })
})

describe('reading manifests', () => {
  it('is that of Kubernetes: 0440 is octal, and a key that comes twice is an error', () => {
    expect(readManifests('spec: { defaultMode: 0440 }')[0]?.spec).toEqual({ defaultMode: 0o440 })
    expect(() => readManifests('kind: A\nkind: B\n')).toThrow(/unique/)
  })
})

const available = kubernetesToolsAvailable()

describe.skipIf(!available)('the schemas of Kubernetes', () => {
  const check = available ? openManifestSchemas(join(toolsFolder, 'schemas')) : () => []
  const deployment = (change: (manifest: Record<string, never>) => void): Manifest => {
    const manifest = structuredClone({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'kbs' },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'kbs' } },
        template: {
          metadata: { labels: { app: 'kbs' } },
          spec: {
            containers: [
              {
                name: 'kbs',
                image: 'kbs',
                ports: [{ containerPort: 8080 }],
                readinessProbe: { httpGet: { path: '/', port: 'https' } },
                resources: { limits: { memory: '1Gi', cpu: 2 } },
              },
            ],
          },
        },
      },
    })
    change(manifest as never)
    return manifest
  }
  const container = (manifest: { spec?: { template: { spec: { containers: object[] } } } }) =>
    manifest.spec?.template.spec.containers[0] as Record<string, unknown>

  it('accept a manifest that is right', () => {
    expect(check(deployment(() => {}))).toEqual([])
  })

  const cases: readonly [string, (manifest: Record<string, never>) => void, RegExp][] = [
    [
      'a misspelt field',
      (m) => Object.assign(m.spec ?? {}, { replica: 2 }),
      /must NOT have additional.*\(replica\)/,
    ],
    [
      'a misspelt field deep inside',
      (m) => Object.assign(container(m), { imagePullPolcy: 'Always' }),
      /imagePullPolcy/,
    ],
    [
      'a misspelt field of metadata',
      (m) => Object.assign(m.metadata ?? {}, { lables: {} }),
      /\/metadata.*lables/,
    ],
    [
      'a wrong type',
      (m) => Object.assign(m.spec ?? {}, { replicas: '2' }),
      /\/spec\/replicas: must be integer/,
    ],
    [
      'a wrong type deep inside',
      (m) => Object.assign(container(m), { ports: [{ containerPort: 'https' }] }),
      /integer/,
    ],
    [
      'a label that is no text',
      (m) => Object.assign(m.metadata ?? {}, { labels: { a: true } }),
      /must be string/,
    ],
    [
      'a field that is missing',
      (m) => Reflect.deleteProperty(m.spec ?? {}, 'selector'),
      /required property 'selector'/,
    ],
    [
      'a field that is missing deep inside',
      (m) => Reflect.deleteProperty(container(m), 'name'),
      /property 'name'/,
    ],
    ['a kind that is not there', (m) => Object.assign(m, { kind: 'Deploiment' }), /there is no such kind/],
    [
      'a version that is no more',
      (m) => Object.assign(m, { apiVersion: 'extensions/v1beta1' }),
      /no such kind/,
    ],
    [
      'a field of a later version',
      (m) => Object.assign(container(m), { restartPolicyRules: [] }),
      /restartPolicyRules/,
    ],
  ]
  it.each(cases)('refuse %s', (_, change, message) => {
    expect(check(deployment(change)).join('\n')).toMatch(message)
  })

  const custom: readonly [string, string, object, object][] = [
    [
      'cert-manager.io/v1',
      'Certificate',
      { secretName: 'a', issuerRef: { name: 'ca' }, dnsNames: ['a.example'] },
      { secretName: 'a', issuerRef: { name: 'ca' }, dnsName: ['a.example'] },
    ],
    [
      'monitoring.coreos.com/v1',
      'ServiceMonitor',
      { selector: {}, endpoints: [{ port: 'https' }] },
      { selector: {}, endpoints: [{ prot: 'https' }] },
    ],
    [
      'secrets-store.csi.x-k8s.io/v1',
      'SecretProviderClass',
      { provider: 'azure', parameters: { keyvaultName: 'v' } },
      { provider: 'azure', parameters: { keyvaultName: 1 } },
    ],
  ]
  it.each(custom)('know those of operators: %s %s', (apiVersion, kind, right, wrong) => {
    const manifest = { apiVersion, kind, metadata: { name: 'a' } }
    expect(check({ ...manifest, spec: right })).toEqual([])
    expect(check({ ...manifest, spec: wrong })).not.toEqual([])
  })
})
