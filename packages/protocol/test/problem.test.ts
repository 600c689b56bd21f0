import { describe, expect, it } from 'vitest'
import { adminRefusal, KbsProblem, problemBody, problems, stringifyJson } from '../src/index.ts'

/** Spec 01 §1.3 and appendix C: type, status and detail as clients of Trustee know them. */
describe('problems', () => {
  it.each([
    [
      problems.adminRefusedOnPlugin(adminRefusal.noBearer()),
      'AdminAuthInitialization',
      401,
      'failed to initialize [admin] configuration: Failed to parse HTTP Auth Bearer header',
    ],
    [
      problems.adminRefused('resource-policy', adminRefusal.unverifiable()),
      'AdminAuthAccess',
      401,
      'admin access denied for endpoint resource-policy: Admin access denied: Cannot verify token with any of the issuers',
    ],
    [
      problems.adminRefused('reference-value', adminRefusal.roleNotAllowed('r', '/kbs/x?y')),
      'AdminAuthAccess',
      401,
      'admin access denied for endpoint reference-value: Admin access denied: Role r not allowed for path /kbs/x?y',
    ],
    [
      problems.adminRefused('attestation-policy', adminRefusal.denyAll()),
      'AdminAuthAccess',
      401,
      'admin access denied for endpoint attestation-policy: Admin access denied: Admin access denied as DenyAll authorization_mode is enabled',
    ],
    [
      problems.authFailed('deserialize Request'),
      'AttestationError',
      401,
      'Attestation error: RCAR handshake Auth failed: deserialize Request',
    ],
    [
      problems.attestFailed('nonce', new Error('secret cause'), 400),
      'AttestationError',
      400,
      'Attestation error: RCAR handshake Attest failed',
    ],
    [
      problems.attestationPolicyRefused(),
      'AttestationError',
      400,
      'Attestation error: Set Attestation Policy failed',
    ],
    [problems.invalidRequestPath('/x'), 'InvalidRequestPath', 404, 'Request path /x is invalid'],
    [problems.jweFailed(), 'JweError', 401, 'JWE failed'],
    [problems.pluginNotFound('auth'), 'PluginNotFound', 404, 'Plugin auth not found'],
    [problems.resourceNotFound(), 'PluginInternalError', 404, 'Plugin internal error'],
    [problems.pluginRefused(), 'PluginInternalError', 400, 'Plugin internal error'],
    [problems.pluginFailed(), 'PluginInternalError', 500, 'Plugin internal error'],
    [problems.policyDenied(), 'PolicyDeny', 401, 'Access denied by policy'],
    [problems.policyDenied(403), 'PolicyDeny', 403, 'Access denied by policy'],
    [
      problems.resourcePolicyMalformed('no policy'),
      'ParsePolicyError',
      400,
      'Failed to parse policy: no policy',
    ],
    [problems.resourcePolicyRefused('line 1'), 'PolicyEngineError', 400, 'Policy engine error: line 1'],
    [
      problems.referenceValueNotFound(),
      'RvpsError',
      404,
      'RVPS configuration failed: reference value not found',
    ],
    [problems.tokenNotFound(), 'TokenNotFound', 401, 'Attestation Token not found'],
    [problems.tokenRefused(), 'TokenVerifierError', 401, 'Token Verifier error'],
    [problems.payloadTooLarge(), 'PayloadTooLarge', 413, 'payload reached size limit'],
    [problems.tooManyRequests(3), 'TooManyRequests', 429, 'too many requests, try again later'],
    [problems.serviceUnavailable(), 'ServiceUnavailable', 503, 'temporarily unavailable, try again later'],
    [
      problems.serviceUnavailable(undefined, 5, 'evidence cannot be verified now: VEK_UNAVAILABLE'),
      'ServiceUnavailable',
      503,
      'temporarily unavailable, try again later',
    ],
  ])('%s', (problem, kind, status, detail) => {
    expect(problem).toBeInstanceOf(KbsProblem)
    expect(problem).toMatchObject({ kind, status, detail })
    expect(problemBody(problem)).toMatchObject({
      type: `https://github.com/confidential-containers/kbs/errors/${kind}`,
      detail,
      status,
    })
  })

  it('keep the cause from the client', () => {
    const problem = problems.attestFailed(undefined, new Error('report signature is wrong'))
    expect(problem.cause).toBeInstanceOf(Error)
    expect(stringifyJson(problemBody(problem))).not.toContain('signature')
    expect(problem.message).not.toContain('signature')
  })

  it('tell a reason beside the detail, whose text is a contract', () => {
    expect(problemBody(problems.pluginRefused('illegal path'))).toMatchObject({
      detail: 'Plugin internal error',
      reason: 'illegal path',
    })
    expect(problemBody(problems.pluginRefused())).not.toHaveProperty('reason')
    expect(problemBody(problems.resourceNotFound())).toMatchObject({ reason: 'resource not found' })
  })

  it('carry the request id that the operator has too, as RFC 9457 has it', () => {
    const id = 'b1f7d1ce-8f6a-4f53-9d06-2f1d6c6f0f0a'
    expect(stringifyJson(problemBody(problems.policyDenied(), id))).toBe(
      `{"type":"https://github.com/confidential-containers/kbs/errors/PolicyDeny","detail":"Access denied by policy","title":"Denied by policy","status":401,"instance":"urn:uuid:${id}"}`,
    )
    expect(problems.tooManyRequests(7).retryAfter).toBe(7)
  })
})
