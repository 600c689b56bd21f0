import type { Container, KeyToPath, Manifest, PodSpec, Volume } from './manifest.ts'
import { ofKind } from './manifest.ts'

/** A file that a container sees, and where it comes from. */
export interface MountedFile {
  readonly path: string
  readonly kind: 'Secret' | 'ConfigMap'
  readonly name: string
  readonly key: string
}

/** Every file that a container sees of Secrets and ConfigMaps; the latter's keys are looked up in `manifests`. */
export function mountedFiles(
  container: Container,
  pod: PodSpec,
  manifests: readonly Manifest[],
): readonly MountedFile[] {
  return (container.volumeMounts ?? []).flatMap(({ name, mountPath }) => {
    const volume = pod.volumes?.find((candidate) => candidate.name === name)
    return volume === undefined
      ? []
      : filesOf(volume, manifests).map((file) => ({ ...file, path: `${mountPath}/${file.path}` }))
  })
}

/** Folders that a container sees of CSI drivers. */
export function mountedFolders(container: Container, pod: PodSpec): readonly string[] {
  return (container.volumeMounts ?? []).flatMap(({ name, mountPath }) =>
    pod.volumes?.some((volume) => volume.name === name && volume.csi !== undefined) ? [mountPath] : [],
  )
}

function filesOf(volume: Volume, manifests: readonly Manifest[]): readonly MountedFile[] {
  const sources = [
    ...(volume.projected?.sources ?? []),
    ...(volume.configMap === undefined ? [] : [{ configMap: volume.configMap }]),
    ...(volume.secret === undefined
      ? []
      : [{ secret: { ...volume.secret, name: volume.secret.secretName } }]),
  ]
  return sources.flatMap((source) => [
    ...files('Secret', source.secret, manifests),
    ...files('ConfigMap', source.configMap, manifests),
  ])
}

function files(
  kind: MountedFile['kind'],
  source: { readonly name: string; readonly items?: readonly KeyToPath[] } | undefined,
  manifests: readonly Manifest[],
): readonly MountedFile[] {
  if (source === undefined) return []
  const { name } = source
  const data = ofKind(manifests, kind).find(({ metadata }) => metadata.name === name)?.data
  const items = source.items ?? Object.keys(data ?? {}).map((key) => ({ key, path: key }))
  return items.map(({ key, path }) => ({ path, kind, name, key }))
}
