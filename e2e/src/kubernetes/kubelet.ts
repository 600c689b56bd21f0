import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { dirname, join } from 'node:path'
import type { Probe } from './manifest.ts'
import type { MountedFile } from './mounted-files.ts'

/**
 * Lays files out below `root` as a kubelet mounts them: in each folder links to `..data`, which is a link to a folder of
 * the moment; readable for user and group.
 */
export async function mountFiles(
  root: string,
  files: readonly MountedFile[],
  contentOf: (file: MountedFile) => string | Uint8Array,
): Promise<void> {
  const moment = '..2026_01_01_00_00_00.000000001'
  const mounted = new Set<string>()
  for (const file of files) {
    const folder = join(root, dirname(file.path))
    const name = file.path.slice(dirname(file.path).length + 1)
    if (!mounted.has(folder)) {
      await mkdir(join(folder, moment), { recursive: true })
      await symlink(moment, join(folder, '..data'))
      mounted.add(folder)
    }
    await writeFile(join(folder, moment, name), contentOf(file))
    await chmod(join(folder, moment, name), 0o440)
    await symlink(join('..data', name), join(folder, name))
  }
}

/** Asks as a kubelet does: by address, without looking at the certificate. Answers the status. */
export function probe(address: string, { httpGet }: Probe): Promise<number> {
  const { protocol, hostname, port } = new URL(address)
  if (httpGet === undefined || `${httpGet.scheme?.toLowerCase()}:` !== protocol)
    return Promise.reject(new Error(`the program speaks ${protocol}, the probe does not`))
  const headers = { 'user-agent': 'kube-probe/1.30', accept: '*/*', connection: 'close' }
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        hostname,
        port,
        path: httpGet.path,
        headers,
        rejectUnauthorized: false,
        agent: false,
        timeout: 5_000,
      },
      (answer) => {
        answer.resume()
        resolve(answer.statusCode ?? 0)
      },
    )
    asked.once('timeout', () => asked.destroy(new Error('no answer to a probe')))
    asked.once('error', reject)
    asked.end()
  })
}
