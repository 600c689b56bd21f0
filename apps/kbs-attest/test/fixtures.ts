import { createAttestationService } from '@passport-kbs/attestation-service'
import {
  deviceRuntimeData,
  encodeBase64,
  generateTeeKeyPair,
  type JsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
  primaryRuntimeData,
  runtimeDataDigest,
  stringifyJson,
  type Tee,
} from '@passport-kbs/protocol'
import {
  type AuditRecord,
  type Config,
  createAdminGuard,
  createAudit,
  createLogger,
  createMetrics,
  parseConfig,
} from '@passport-kbs/service'
import { openSessionStore, openStorage, type StorageConfig } from '@passport-kbs/storage'
import { createSampleDeviceVerifier, createSampleVerifier, type Verifier } from '@passport-kbs/tee-evidence'
import { expect } from 'vitest'
import { type AttestDeps, createApp } from '../src/app.ts'

/** A KBS1 of real parts, whose clock and log the test holds. */
export interface TestKbs {
  readonly deps: AttestDeps
  readonly config: Config
  readonly clock: { now: Date }
  /** Audit records, as written. */
  readonly audits: () => AuditRecord[]
  /** The whole log as text. */
  readonly log: () => string
  readonly app: ReturnType<typeof createApp>
  post(
    path: string,
    body: string | Uint8Array<ArrayBuffer>,
    headers?: Record<string, string>,
  ): Promise<Response>
  get(path: string, headers?: Record<string, string>): Promise<Response>
}

export interface TestKbsOptions {
  readonly profile?: 'production' | 'development'
  readonly storage?: StorageConfig
  readonly sessions?: StorageConfig & { readonly maxSessions?: number }
  readonly verifiers?: readonly Verifier[]
  readonly attestTimeoutMs?: number
  readonly admin?: Record<string, unknown>
  readonly httpServer?: Record<string, unknown>
  readonly deps?: Partial<AttestDeps>
}

/** Appraises every sample guest as affirming, whatever the shipped policies say. */
export const smallPolicy = `package policy

default executables := 33

executables := 3 if input.sample

trust_claims := {"executables": executables}
`

export async function openTestKbs(options: TestKbsOptions = {}): Promise<TestKbs> {
  const { profile = 'development', storage = { type: 'Memory' } } = options
  const clock = { now: new Date() }
  const now = () => clock.now
  const document = {
    http_server: { insecure_http: true, sockets: ['127.0.0.1:0'], ...options.httpServer },
    admin: options.admin ?? { authorization_mode: 'InsecureAllowAll' },
  }
  const config = parseConfig('kbs-attest', document, { KBS_PROFILE: 'development' })
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ program: 'test', env: {}, level: 'debug', destination })
  const store = await openStorage(storage)
  const verifiers = options.verifiers ?? [
    createSampleVerifier({ enabled: true }),
    createSampleDeviceVerifier({ enabled: true }),
  ]
  const attestation = await createAttestationService({
    verifiers: new Map<Tee, Verifier>(verifiers.map((verifier) => [verifier.tee, verifier])),
    storage: store,
    profile,
    now,
  })
  const deps: AttestDeps = {
    attestation,
    sessions: await openSessionStore(options.sessions ?? { type: 'Memory' }, { now }),
    admin: await createAdminGuard(config.admin, { logger, profile }),
    audit: createAudit(logger),
    logger,
    metrics: createMetrics({ config: config.metrics, version: '0' }),
    now,
    randomBytes: (size) => crypto.getRandomValues(new Uint8Array(size)),
    sessionLifetimeMs: 5 * 60_000,
    attestTimeoutMs: options.attestTimeoutMs ?? 10_000,
    teeKeys: {},
    secureCookies: false,
    ...options.deps,
  }
  const app = createApp(deps, { httpServer: config.httpServer })
  const parsed = () => lines.map((line) => JSON.parse(line) as AuditRecord & { audit?: boolean })
  return {
    deps,
    config,
    clock,
    app,
    audits: () => parsed().filter(({ audit }) => audit === true),
    log: () => lines.join(''),
    post: async (path, body, headers = {}) => app.request(path, { method: 'POST', body, headers }),
    get: async (path, headers = {}) => app.request(path, { headers }),
  }
}

export const authBody = (tee = 'sample') => `{"version":"0.4.0","tee":"${tee}","extra-params":""}`

/** Shakes hands as far as the challenge. */
export async function authenticate(
  kbs: TestKbs,
): Promise<{ readonly nonce: string; readonly cookie: string }> {
  const answer = await kbs.post('/kbs/v0/auth', authBody())
  expect(answer.status).toBe(200)
  const { nonce } = (await answer.json()) as { nonce: string }
  return { nonce, cookie: cookieOf(answer) }
}

export function cookieOf(answer: Response): string {
  return answer.headers.get('set-cookie')?.split(';')[0] ?? ''
}

export const teeKey = generateTeeKeyPair()

export interface AttestationOptions {
  readonly nonce: string
  readonly teePublicKey?: JsonObject
  readonly devices?: (reportData: string) => string
  readonly initData?: { readonly format: string; readonly body: string }
  /** Instead of the digest that the evidence has to carry. */
  readonly reportData?: string
}

/** The body that a sample guest posts to `/attest`. */
export function attestation(options: AttestationOptions): JsonObject {
  const { nonce, initData } = options
  const key = options.teePublicKey ?? teeKey.publicKey.jwk
  const additional = options.devices?.(digestOf(deviceRuntimeData({ nonce, teePublicKeyJson: key }))) ?? ''
  const runtimeData = primaryRuntimeData({ nonce, teePublicKeyJson: key, additionalEvidence: additional })
  const evidence = { svn: '1', report_data: options.reportData ?? digestOf(runtimeData) }
  return jsonObject({
    'init-data': initData ? jsonObject({ ...initData }) : null,
    'runtime-data': jsonObject({ nonce, 'tee-pubkey': key }),
    'tee-evidence': jsonObject({ primary_evidence: jsonObject(evidence), additional_evidence: additional }),
  })
}

export const text = (value: JsonValue): string => stringifyJson(value)

function digestOf(runtimeData: JsonObject): string {
  return encodeBase64(runtimeDataDigest(runtimeData, 'sha384'))
}

/** The claims of a token, not verified. */
export function claimsOf(token: string): JsonObject {
  return parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url')) as JsonObject
}

export async function tokenOf(answer: Response): Promise<string> {
  expect(answer.status).toBe(200)
  return ((await answer.json()) as { token: string }).token
}
