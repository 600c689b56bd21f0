import type { SecretBackend } from './secret-backend.ts'

/** A back end that stands in the place of all secrets below `prefix`, which is `<repository>/<type>`. */
export interface SecretMount {
  readonly prefix: string
  readonly backend: SecretBackend
}

/**
 * Puts other back ends beside `main`. A path below a prefix goes to that mount and nowhere else: what it does not have
 * is not looked for in `main`.
 */
export function mountSecrets(main: SecretBackend, mounts: readonly SecretMount[]): SecretBackend {
  const backendOf = (path: string): SecretBackend =>
    mounts.find(({ prefix }) => path.startsWith(`${prefix}/`))?.backend ?? main
  return {
    read: async (path, options) => backendOf(path).read(path, options),
    write: async (path, value) => backendOf(path).write(path, value),
    delete: async (path) => backendOf(path).delete(path),
    async ping() {
      await Promise.all([main, ...mounts.map(({ backend }) => backend)].map((backend) => backend.ping()))
    },
  }
}
