import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { presets } from '@passport-kbs/policy'
import {
  encodeUtf8,
  generateTeeKeyPair,
  openWithTeeKey,
  parseJson,
  parseJweResponse,
  type TeePrivateKey,
} from '@passport-kbs/protocol'
import {
  type AuditRecord,
  type Config,
  createAdminGuard,
  createAudit,
  createLogger,
  createMetrics,
  createPassportVerifier,
  parseConfig,
} from '@passport-kbs/service'
import {
  createVersionHistory,
  openStorage,
  type Storage,
  type StorageConfig,
  storedSecrets,
} from '@passport-kbs/storage'
import { SignJWT } from 'jose'
import { expect } from 'vitest'
import { createApp, openResourcePolicy, type ResourceDeps } from '../src/app.ts'

export const issuer = 'trustee-1'
export const teeKey = generateTeeKeyPair()

/** A KBS2 of real parts; passports come from a Trustee 1 whose key it has been given. */
export interface TestKbs {
  readonly deps: ResourceDeps
  readonly config: Config
  readonly storage: Storage
  readonly audits: () => AuditRecord[]
  readonly log: () => string
  readonly app: ReturnType<typeof createApp>
  request(method: string, path: string, headers?: Record<string, string>, body?: Body): Promise<Response>
}

type Body = string | Uint8Array<ArrayBuffer>

export interface TestKbsOptions {
  readonly storage?: StorageConfig
  readonly policy?: string
  readonly policyTimeoutMs?: number
  readonly admin?: Record<string, unknown>
  readonly httpServer?: Record<string, unknown>
  readonly attestationToken?: Record<string, unknown>
  readonly deps?: Partial<ResourceDeps>
}

const trustee1 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...trustee1.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }

export async function openTestKbs(options: TestKbsOptions = {}): Promise<TestKbs> {
  const keys = await temporaryFile('jwks.json', JSON.stringify({ keys: [jwk] }))
  const document = {
    http_server: { insecure_http: true, sockets: ['127.0.0.1:0'], ...options.httpServer },
    admin: options.admin ?? { authorization_mode: 'InsecureAllowAll' },
    attestation_token: { trusted_jwk_sets: [keys], ...options.attestationToken },
  }
  const config = parseConfig('kbs-resource', document, { KBS_PROFILE: 'development' })
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ program: 'test', env: {}, level: 'debug', destination })
  const storage = await openStorage(options.storage ?? { type: 'Memory' })
  const policy = await openResourcePolicy({
    store: storage.namespace('kbs'),
    initial: options.policy ?? presets.affirming,
    timeoutMs: options.policyTimeoutMs ?? 1_000,
    maxAgeMs: 0,
    now: () => new Date(),
    clock: () => performance.now(),
    randomBytes: (size) => crypto.getRandomValues(new Uint8Array(size)),
    history: createVersionHistory(storage.namespace('policy_history'), { owner: 'resource' }),
    onLoaded: (policySha384) => logger.info({ policySha384 }, 'resource policy loaded'),
  })
  const deps: ResourceDeps = {
    passports: await createPassportVerifier(config.attestationToken, { logger, profile: 'development' }),
    policy,
    secrets: storedSecrets(storage.namespace('repository')),
    storage,
    admin: await createAdminGuard(config.admin, { logger, profile: 'development' }),
    audit: createAudit(logger),
    logger,
    metrics: createMetrics({ config: config.metrics, version: '0' }),
    extraTeeKeyPaths: config.attestationToken.extraTeekeyPaths,
    teeKeys: {},
    denyStatus: 401,
    ...options.deps,
  }
  const app = createApp(deps, { httpServer: config.httpServer })
  const parsed = () => lines.map((line) => JSON.parse(line) as AuditRecord & { audit?: boolean })
  return {
    deps,
    config,
    storage,
    app,
    audits: () => parsed().filter(({ audit }) => audit === true),
    log: () => lines.join(''),
    request: async (method, path, headers = {}, body) =>
      app.request(path, { method, headers, ...(body === undefined ? {} : { body }) }),
  }
}

export async function temporaryFile(name: string, text: string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'kbs-resource-')), name)
  await writeFile(path, text)
  return path
}

export interface PassportOptions {
  readonly claims?: Record<string, unknown>
  readonly teeKey?: TeePrivateKey
  readonly expiresIn?: number
  readonly key?: KeyObject
}

/** Claims of an affirming guest, as Trustee 1 writes them. */
export function affirmingClaims(key: unknown = teeKey.publicKey.jwk): Record<string, unknown> {
  const evidence = { sample: {}, runtime_data_claims: { 'tee-pubkey': key } }
  const cpu0 = { 'ear.status': 'affirming', 'ear.veraison.annotated-evidence': evidence }
  return { iss: issuer, jti: 'jti-1', submods: { cpu0 } }
}

/** A passport of Trustee 1 as an `Authorization` header. */
export async function passport(options: PassportOptions = {}): Promise<{ readonly authorization: string }> {
  const claims = options.claims ?? affirmingClaims((options.teeKey ?? teeKey).publicKey.jwk)
  const now = Math.floor(Date.now() / 1000)
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
    .setIssuedAt(now)
    .setExpirationTime(now + (options.expiresIn ?? 300))
    .sign(options.key ?? trustee1.privateKey)
  return { authorization: `Bearer ${token}` }
}

/** What the guest reads. */
export async function opened(answer: Response, key: TeePrivateKey = teeKey): Promise<Uint8Array> {
  expect(answer.status).toBe(200)
  return openWithTeeKey(key, parseJweResponse(parseJson(await answer.text())))
}

export const utf8 = (text: string): Uint8Array => encodeUtf8(text)
