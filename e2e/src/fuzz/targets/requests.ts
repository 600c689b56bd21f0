/** What comes with a request besides its body, and what relying parties send to the attestation service. */
import {
  isJsonObject,
  JsonSyntaxError,
  jsonObject,
  KbsProblem,
  parseJson,
  runtimeDataDigest,
} from '@passport-kbs/protocol'
import { createProxyTrust, rawRequestPath, requestPath } from '@passport-kbs/service'
import { createSampleVerifier, EvidenceRejected } from '@passport-kbs/tee-evidence'
import { sampleEvidence } from '@passport-kbs/testing'
import { evaluationItem } from '../../../../apps/attestation-service/src/evaluation-request.ts'
import { readSessionCookie } from '../../../../apps/kbs-attest/src/session-cookie.ts'
import { parseResourcePath, resourceKey } from '../../../../apps/kbs-resource/src/resource-path.ts'
import { verifyEvidence } from '../../../../packages/attestation-service/src/verification.ts'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds } from './seeds.ts'

const proxies = createProxyTrust(['10.0.0.0/8', '::1', '192.0.2.1'])
const keyPattern = /^[A-Za-z0-9_-][\w.-]*(\/[A-Za-z0-9_-][\w.-]*){2}$/

const raw = new Request('http://localhost/')

/** Three lines: request target, `Cookie`, `X-Forwarded-For`. */
export const request: FuzzTarget = {
  name: 'request',
  rejections: [KbsProblem],
  maxLength: 8192,
  seeds: () =>
    [
      '/kbs/v0/resource/default/key/1?a=b&c=%20d+e\nkbs-session-id=0123456789abcdef0123456789abcdef; x=y\n10.1.2.3, [::1]:443, 192.0.2.1:80',
      '/kbs/v0/resource/%2e%2e%2f/a%2Fb\n\n::ffff:10.0.0.1',
      'http://host:1/kbs/v0/auth#x\nkbs-session-id=\nunknown',
    ].map((text) => Buffer.from(text)),
  run(input) {
    const [target = '', cookie, forwardedFor] = Buffer.from(input).toString('latin1').split('\n')
    readSessionCookie(cookie)
    proxies.clientAddress('10.0.0.1', forwardedFor)
    const env = { incoming: { url: target } }
    rawRequestPath(raw, { env })
    // all that it asks of a context
    const { segments } = requestPath({ req: { raw }, env } as unknown as Parameters<typeof requestPath>[0])
    const path = parseResourcePath(segments)
    if (path !== undefined && !keyPattern.test(resourceKey(path))) throw new Error('a key that climbs')
  },
}

const now = new Date('2026-01-15T12:00:00Z')
const enabled = {
  verifiers: new Map([['sample' as const, createSampleVerifier({ enabled: true })]]),
  development: true,
}
const base64Url = (text: string) => Buffer.from(text).toString('base64url')

export const evaluation: FuzzTarget = {
  name: 'evaluation',
  rejections: [JsonSyntaxError, KbsProblem, EvidenceRejected],
  seeds: () => {
    const raw = Buffer.alloc(64, 3)
    const structured = jsonObject({ nonce: 'a', n: [1, 2.5, -0, 1000] })
    const digest = runtimeDataDigest(structured, 'sha512')
    const evidence = (bytes: Uint8Array) => base64Url(JSON.stringify(sampleEvidence(bytes)))
    return jsonSeeds([
      { tee: 'sample', evidence: evidence(raw), rawRuntimeData: raw.toString('base64url') },
      { tee: 'sample', evidence: evidence(raw), initDataDigest: base64Url('0'.repeat(32)) },
      {
        tee: 'sample',
        evidence: evidence(digest),
        structuredRuntimeData: structured,
        hashAlgorithm: 'sha512',
        initDataToml: 'version = "0.1.0"\nalgorithm = "sha256"\n[data]\n"a" = "b"',
      },
    ])
  },
  async run(input) {
    const body = parseJson(input)
    if (!isJsonObject(body)) return
    const text = (name: string) => {
      const { [name]: value } = body
      return typeof value === 'string' ? value : undefined
    }
    const item = evaluationItem(
      {
        tee: text('tee') ?? '',
        evidence: text('evidence') ?? '',
        rawRuntimeData: text('rawRuntimeData'),
        structuredRuntimeData: body.structuredRuntimeData,
        initDataDigest: text('initDataDigest'),
        initDataToml: text('initDataToml'),
        hashAlgorithm: text('hashAlgorithm'),
      },
      'verification_requests[0]',
    )
    await verifyEvidence([item], enabled, now)
  },
}
