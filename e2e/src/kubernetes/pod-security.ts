import type { Container, PodSpec, SecurityContext } from './manifest.ts'

const allowedVolumes = [
  ...[
    'configMap',
    'csi',
    'downwardAPI',
    'emptyDir',
    'ephemeral',
    'persistentVolumeClaim',
    'projected',
    'secret',
  ],
]
const allowedSeLinuxTypes = ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t']
const allowedSysctls = [
  ...['kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range', 'net.ipv4.ip_unprivileged_port_start'],
  ...['net.ipv4.tcp_syncookies', 'net.ipv4.ping_group_range', 'net.ipv4.ip_local_reserved_ports'],
  ...['net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_fin_timeout', 'net.ipv4.tcp_keepalive_intvl'],
  'net.ipv4.tcp_keepalive_probes',
]

/** Rules of the Pod Security Standard `restricted`, those of `baseline` included, that a pod breaks. */
export function restrictedViolations(pod: PodSpec): readonly string[] {
  const containers = [...pod.containers, ...(pod.initContainers ?? []), ...(pod.ephemeralContainers ?? [])]
  return [
    ...hostNamespaces(pod),
    ...volumeTypes(pod),
    ...sharedContext(pod.securityContext ?? {}, 'pod'),
    ...containers.flatMap((container) => [
      ...sharedContext(container.securityContext ?? {}, container.name),
      ...containerRules(container, pod.securityContext ?? {}),
      ...hostAccess(container),
    ]),
  ]
}

function hostNamespaces(pod: PodSpec): readonly string[] {
  return (['hostNetwork', 'hostPID', 'hostIPC'] as const).flatMap((name) =>
    pod[name] ? [`pod: ${name}`] : [],
  )
}

function volumeTypes(pod: PodSpec): readonly string[] {
  return (pod.volumes ?? []).flatMap(({ name, ...type }) => {
    const kinds = Object.keys(type)
    const [kind = 'emptyDir'] = kinds
    return allowedVolumes.includes(kind) && kinds.length <= 1 ? [] : [`volume ${name}: ${kinds.join(', ')}`]
  })
}

/** What neither a pod nor a container may say. */
function sharedContext(context: SecurityContext, where: string): readonly string[] {
  const { seLinuxOptions, sysctls = [], seccompProfile, appArmorProfile } = context
  const broken: [boolean, string][] = [
    [context.windowsOptions?.hostProcess === true, 'hostProcess'],
    [context.runAsUser === 0, 'runAsUser is 0'],
    [context.runAsNonRoot === false, 'runAsNonRoot is false'],
    [!allowedSeLinuxTypes.includes(seLinuxOptions?.type ?? ''), 'seLinuxOptions.type'],
    [
      (seLinuxOptions?.user ?? '') !== '' || (seLinuxOptions?.role ?? '') !== '',
      'seLinuxOptions user or role',
    ],
    [appArmorProfile?.type === 'Unconfined', 'appArmorProfile is Unconfined'],
    [seccompProfile !== undefined && !isConfined(seccompProfile), 'seccompProfile is Unconfined'],
    [sysctls.some(({ name }) => !allowedSysctls.includes(name)), 'sysctls'],
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, what]) => `${where}: ${what}`)
}

function isConfined({ type }: { readonly type: string }): boolean {
  return type === 'RuntimeDefault' || type === 'Localhost'
}

/** What every container must say, itself or by its pod. */
function containerRules(container: Container, pod: SecurityContext): readonly string[] {
  const context = container.securityContext ?? {}
  const { drop = [], add = [] } = context.capabilities ?? {}
  const broken: [boolean, string][] = [
    [context.privileged === true, 'privileged'],
    [context.allowPrivilegeEscalation !== false, 'allowPrivilegeEscalation is not false'],
    [(context.runAsNonRoot ?? pod.runAsNonRoot) !== true, 'runAsNonRoot is not true'],
    [(context.seccompProfile ?? pod.seccompProfile) === undefined, 'there is no seccompProfile'],
    [!drop.includes('ALL'), 'capabilities.drop lacks ALL'],
    [add.some((capability) => capability !== 'NET_BIND_SERVICE'), 'capabilities.add'],
    [(context.procMount ?? 'Default') !== 'Default', 'procMount'],
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, what]) => `${container.name}: ${what}`)
}

/** Ports of the node, and probes that the kubelet would send elsewhere than to the pod. */
function hostAccess({ name, ports = [], ...container }: Container): readonly string[] {
  const probes = [container.startupProbe, container.readinessProbe, container.livenessProbe]
  const hosts = probes.flatMap((probe) => [probe?.httpGet?.host, probe?.tcpSocket?.host])
  return [
    ...(ports.some(({ hostPort = 0 }) => hostPort !== 0) ? [`${name}: hostPort`] : []),
    ...(hosts.some((host) => host !== undefined) ? [`${name}: a probe names a host`] : []),
  ]
}
