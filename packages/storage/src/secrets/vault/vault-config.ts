/** How a process reaches Vault or OpenBao, and proves who it is. In configurations these keys are in snake_case. */
export interface VaultAccess {
  /** Without a path; https, or http to this machine, where an agent of Vault listens. */
  readonly vaultUrl: string
  /** One of `token`, `tokenFile` and `kubernetes`. */
  readonly token?: string
  /** Read at each request: an agent of Vault puts a new token there. */
  readonly tokenFile?: string
  readonly kubernetes?: {
    readonly role: string
    /** Where the auth method is mounted. */
    readonly authPath: string
    /** The token of the service account. */
    readonly jwtFile: string
  }
  /** Of Vault Enterprise and OpenBao. */
  readonly namespace?: string
  /** PEM files with the CAs to trust instead of the system's. */
  readonly caCerts: readonly string[]
  readonly timeoutMs: number
}

/** `[[plugins]]` with `storage_backend_type = "Vault"`, in camelCase: Trustee's keys (spec 01 §5.2), and ours. */
export interface VaultConfig extends VaultAccess {
  readonly mountPath: string
  readonly kvVersion: 1 | 2
}
