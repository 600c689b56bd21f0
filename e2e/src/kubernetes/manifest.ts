import { parseAllDocuments } from 'yaml'

/** One object of Kubernetes. What it holds is the affair of its schema; readers name what they look at. */
export interface Manifest<Spec = unknown> {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: Metadata
  readonly spec: Spec
  readonly data?: Readonly<Record<string, string>>
  readonly automountServiceAccountToken?: boolean
}

export type Labels = Readonly<Record<string, string>>

export interface Metadata {
  readonly name: string
  readonly namespace?: string
  readonly labels?: Labels
  readonly annotations?: Labels
}

export interface Selector {
  readonly matchLabels: Labels
}

export interface WorkloadSpec {
  readonly replicas?: number
  readonly selector: Selector
  readonly strategy?: { readonly rollingUpdate?: { readonly maxUnavailable?: number | string } }
  readonly template: { readonly metadata: Metadata; readonly spec: PodSpec }
  readonly volumeClaimTemplates?: readonly { readonly metadata: Metadata }[]
}

export interface PodSpec {
  readonly serviceAccountName?: string
  readonly automountServiceAccountToken?: boolean
  readonly enableServiceLinks?: boolean
  readonly terminationGracePeriodSeconds?: number
  readonly hostNetwork?: boolean
  readonly hostPID?: boolean
  readonly hostIPC?: boolean
  readonly securityContext?: SecurityContext
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly ephemeralContainers?: readonly Container[]
  readonly volumes?: readonly Volume[]
}

/** Of a pod or of a container; not every member is known to both. */
export interface SecurityContext {
  readonly runAsNonRoot?: boolean
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly fsGroup?: number
  readonly seccompProfile?: { readonly type: string }
  readonly appArmorProfile?: { readonly type: string }
  readonly seLinuxOptions?: { readonly type?: string; readonly user?: string; readonly role?: string }
  readonly sysctls?: readonly { readonly name: string }[]
  readonly windowsOptions?: { readonly hostProcess?: boolean }
  readonly privileged?: boolean
  readonly allowPrivilegeEscalation?: boolean
  readonly readOnlyRootFilesystem?: boolean
  readonly procMount?: string
  readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] }
}

export interface Container {
  readonly name: string
  readonly image: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
  readonly envFrom?: readonly unknown[]
  readonly ports?: readonly {
    readonly name: string
    readonly containerPort: number
    readonly hostPort?: number
  }[]
  readonly securityContext?: SecurityContext
  readonly resources?: { readonly requests?: Labels; readonly limits?: Labels }
  readonly volumeMounts?: readonly VolumeMount[]
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number } } }
}

export interface Probe {
  readonly httpGet?: {
    readonly path: string
    readonly port: string | number
    readonly scheme?: string
    readonly host?: string
  }
  readonly tcpSocket?: { readonly port: string | number; readonly host?: string }
  readonly periodSeconds?: number
  readonly failureThreshold?: number
}

export interface VolumeMount {
  readonly name: string
  readonly mountPath: string
  readonly readOnly?: boolean
  readonly subPath?: string
}

export interface KeyToPath {
  readonly key: string
  readonly path: string
}

export interface Volume {
  readonly name: string
  readonly configMap?: { readonly name: string; readonly items?: readonly KeyToPath[] }
  readonly secret?: { readonly secretName: string; readonly items?: readonly KeyToPath[] }
  readonly projected?: { readonly defaultMode?: number; readonly sources: readonly ProjectionSource[] }
  readonly emptyDir?: { readonly medium?: string }
  readonly csi?: { readonly driver: string; readonly volumeAttributes?: Labels }
}

export interface ProjectionSource {
  readonly secret?: { readonly name: string; readonly items?: readonly KeyToPath[] }
  readonly configMap?: { readonly name: string; readonly items?: readonly KeyToPath[] }
}

export interface ServiceSpec {
  readonly type: string
  readonly selector: Labels
  readonly ports: readonly {
    readonly name: string
    readonly port: number
    readonly targetPort: string | number
  }[]
}

export interface NetworkPolicySpec {
  readonly podSelector: Selector
  readonly policyTypes: readonly string[]
  readonly ingress?: readonly NetworkRule[]
  readonly egress?: readonly NetworkRule[]
}

export interface NetworkRule {
  readonly from?: readonly Peer[]
  readonly to?: readonly Peer[]
  readonly ports?: readonly { readonly protocol?: string; readonly port: number | string }[]
}

export interface Peer {
  readonly podSelector?: Partial<Selector>
  readonly namespaceSelector?: Partial<Selector>
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] }
}

/** Reads a stream of manifests as Kubernetes does: YAML 1.1, in which `0440` is octal; a repeated key is an error. */
export function readManifests(yaml: string): readonly Manifest[] {
  return parseAllDocuments(yaml, { version: '1.1' }).flatMap((document) => {
    const [error] = document.errors
    if (error !== undefined) throw error
    const value: unknown = document.toJS()
    return value === null ? [] : [value as Manifest]
  })
}

/** The objects of one kind; the caller says what their `spec` is. */
export function ofKind<Spec>(manifests: readonly Manifest[], kind: string): readonly Manifest<Spec>[] {
  return manifests.filter((manifest): manifest is Manifest<Spec> => manifest.kind === kind)
}

/** Everything that makes pods. */
export function workloadsOf(manifests: readonly Manifest[]): readonly Manifest<WorkloadSpec>[] {
  return ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'Pod', 'CronJob'].flatMap((kind) => {
    const found = ofKind<WorkloadSpec>(manifests, kind)
    if (found.length > 0 && kind !== 'Deployment' && kind !== 'StatefulSet')
      throw new Error(`${kind}: these tests do not know where its pods are described`)
    return found
  })
}

/** Whether a selector means a pod with these labels. An empty one means every pod. */
export function selects(selector: Partial<Selector>, labels: Labels = {}): boolean {
  return Object.entries(selector.matchLabels ?? {}).every(([name, value]) => labels[name] === value)
}
