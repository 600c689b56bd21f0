import type { KbsRequest } from '../http/kbs-routes.ts'
import type { Audit } from '../observability/audit.ts'
import { AdminDenied, type AdminGuard } from './admin-guard.ts'

/** What an audit record says of an administrator. */
export interface AdminRecord {
  readonly requestId: string
  readonly subject?: string
  readonly role?: string
}

/**
 * Asks the guard who sends this request. A refusal is put on the audit record and thrown as `refuse` words it, since
 * built-in verbs and plugins have different error types (spec 01 §1.3).
 */
export async function authorizeAdmin(
  { admin, audit }: { readonly admin: AdminGuard; readonly audit: Audit },
  request: KbsRequest,
  event: string,
  refuse: (refusal: string, cause: unknown) => Error,
): Promise<AdminRecord> {
  const { requestId, method, segments } = request
  try {
    const { subject, role } = await admin.authorize({
      authorization: request.header('authorization'),
      method,
      segments,
    })
    return { requestId, ...(subject ? { subject } : {}), ...(role ? { role } : {}) }
  } catch (error) {
    if (!(error instanceof AdminDenied)) throw error
    audit({ event, decision: 'denied', requestId, reason: error.reason })
    throw refuse(error.message, error)
  }
}
