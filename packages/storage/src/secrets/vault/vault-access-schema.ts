import { z } from 'zod'

const filePath = () => z.string().min(1).max(4096)

/** Where an engine or an auth method is mounted, or a namespace. */
export const vaultPath = () =>
  z
    .string()
    .max(1024)
    .regex(
      /^[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/,
      'must be a path such as "secret"',
    )

/**
 * Keys of a configuration that say how Vault or OpenBao is reached.
 *
 * @param trustees `Ours: ` where the section is not Trustee's
 */
export function vaultAccessKeys(trustees: '' | 'Ours: ') {
  return {
    vault_url: z
      .string()
      .max(2048)
      .refine(isServerAddress, { message: 'must be https://host[:port], or http:// of this machine' })
      .describe(`${trustees}Address, without a path.`),
    token: z
      .string()
      .regex(/^[\x21-\x7e]{1,4096}$/, 'must be printable ASCII')
      .optional()
      .describe(`${trustees}Token. It is renewed while Vault allows it.`),
    token_file: filePath()
      .optional()
      .describe('Ours: file with the token instead, read at each request; whoever writes it keeps it fresh.'),
    kubernetes: z
      .strictObject({
        role: z.string().min(1).max(256).describe('Ours: role of the Kubernetes auth method.'),
        auth_path: vaultPath().default('kubernetes').describe('Ours: where the auth method is mounted.'),
        jwt_file: filePath()
          .default('/var/run/secrets/kubernetes.io/serviceaccount/token')
          .describe('Ours: token of the service account.'),
      })
      .optional()
      .describe('Ours: log in with the service account instead.'),
    namespace: vaultPath().optional().describe('Ours: namespace of Vault Enterprise or OpenBao.'),
    verify_ssl: z
      .literal(true, { message: 'the certificate of Vault is always verified' })
      .default(true)
      .describe(`${trustees}Only \`true\`: for a CA of your own there is \`ca_certs\`.`),
    ca_certs: z
      .array(filePath())
      .max(16)
      .default([])
      .describe(`${trustees}PEM files with the CAs to trust instead of the system’s.`),
    timeout_ms: z.int().min(10).max(60_000).default(5_000).describe('Ours: time in which Vault must answer.'),
  }
}

/** Whether exactly one credential is given. */
export function hasOneVaultCredential(section: {
  readonly token?: unknown
  readonly token_file?: unknown
  readonly kubernetes?: unknown
}): boolean {
  return (
    [section.token, section.token_file, section.kubernetes].filter((way) => way !== undefined).length === 1
  )
}

/** Plain HTTP is for an agent of Vault beside this process. */
function isServerAddress(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.username + url.password + url.search + url.hash !== '' || url.pathname !== '/')
    return false
  const here = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  return url.protocol === 'https:' || (url.protocol === 'http:' && here)
}
