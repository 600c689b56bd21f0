import { readFile } from 'node:fs/promises'
import { ConfigError } from '@passport-kbs/service'

/** @param setting key of the configuration that names the file. @throws ConfigError when it cannot be read */
export async function readPem(setting: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const problem = { path: setting, problem: `${path} cannot be read` }
    throw new ConfigError([{ ...problem, remedy: 'Check the path and its permissions' }], { cause })
  }
}

/** Key and certificate of a client, where the section names both. @throws ConfigError */
export async function readIdentity(
  section: string,
  { clientKey, clientCertificate }: { readonly clientKey?: string; readonly clientCertificate?: string },
): Promise<{ readonly key: string; readonly certificate: string } | undefined> {
  const key = await readPem(`${section}.client_key`, clientKey)
  const certificate = await readPem(`${section}.client_certificate`, clientCertificate)
  return key === undefined || certificate === undefined ? undefined : { key, certificate }
}
