import type { Logger } from 'pino'

/** Who did, or was refused, what. Values are identifiers and digests; never a secret, a token or a session id. */
export interface AuditRecord {
  /** What was attempted, e.g. `resource-read`, `resource-policy-set`, `attestation`. */
  readonly event: string
  readonly decision: 'allowed' | 'denied' | 'failed'
  readonly requestId: string
  /** Why, in a stable word or sentence. */
  readonly reason?: string | undefined
  /** SHA-384 of the policy text that decided, lower-case hex. */
  readonly policySha384?: string | undefined
  /** An administrator's `sub`. */
  readonly subject?: string | undefined
  /** `jti` of the passport that was minted or shown. */
  readonly jti?: string | undefined
  /** Id of the policy that was set. */
  readonly policyId?: string | undefined
  /** Names of the reference values that were registered. */
  readonly referenceValues?: readonly string[] | undefined
  readonly issuer?: string | undefined
  readonly role?: string | undefined
  /** RFC 7638 thumbprint of the TEE key, base64url. */
  readonly teeKeyThumbprint?: string | undefined
  readonly tee?: string | undefined
  readonly plugin?: string | undefined
  readonly resourcePath?: string | undefined
  readonly clientAddress?: string | undefined
  /** Ids and statuses of the submods that were appraised. */
  readonly submods?:
    | readonly {
        readonly name: string
        readonly status: string
        readonly policyId?: string
        readonly policySha384?: string
      }[]
    | undefined
}

export type Audit = (record: AuditRecord) => void

/**
 * The audit trail: one line a decision, marked `"audit": true`, at level `info` whatever the log level is, so that
 * quietening the log does not blind the trail. Only the members of `AuditRecord` are written.
 */
export function createAudit(logger: Logger): Audit {
  const trail = logger.child({ audit: true }, { level: 'info' })
  return (record) => trail.info(pickMembers(record), `${record.event} ${record.decision}`)
}

const members = [
  'event',
  'decision',
  'requestId',
  'reason',
  'policySha384',
  'subject',
  'jti',
  'policyId',
  'referenceValues',
  'issuer',
  'role',
  'teeKeyThumbprint',
  'tee',
  'plugin',
  'resourcePath',
  'clientAddress',
  'submods',
] as const satisfies readonly (keyof AuditRecord)[]

function pickMembers(record: AuditRecord): Partial<AuditRecord> {
  return Object.fromEntries(
    members.flatMap((name) => (record[name] === undefined ? [] : [[name, record[name]]])),
  )
}
