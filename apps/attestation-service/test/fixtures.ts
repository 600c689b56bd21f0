import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  deviceRuntimeData,
  encodeBase64,
  encodeBase64Url,
  encodeUtf8,
  generateTeeKeyPair,
  type JsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
  primaryRuntimeData,
  runtimeDataDigest,
  stringifyJson,
} from '@passport-kbs/protocol'
import { startService } from '@passport-kbs/service'
import { attestationService } from '../src/service.ts'

/** The program on ports of loopback. */
export interface TestService {
  /** `host:port` of the gRPC listener. */
  readonly grpc: string
  /** Address of the REST listener. */
  readonly url: string
  /** Its log lines so far. */
  log(): readonly Record<string, unknown>[]
  close(): Promise<void>
}

/** A folder that is removed with `close`. */
export async function openFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'attestation-service-'))
  return {
    async write(name: string, content: string | Uint8Array): Promise<string> {
      const path = join(folder, name)
      await writeFile(path, content, { mode: 0o600 })
      return path
    },
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Starts the program from its configuration, members of which are replaced section by section. */
export async function startAttestationService(
  config: { readonly profile?: string } & Record<string, Record<string, unknown> | string> = {},
): Promise<TestService> {
  const folder = await openFolder()
  const file = await folder.write(
    'config.json',
    JSON.stringify({
      profile: 'development',
      log_level: 'debug',
      ...config,
      http_server: { sockets: ['127.0.0.1:0'], insecure_http: true, ...section(config.http_server) },
      attestation_api: { grpc_sockets: ['127.0.0.1:0'], ...section(config.attestation_api) },
    }),
  )
  const lines: string[] = []
  const log = () => lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  const service = await startService({
    ...attestationService,
    argv: ['-c', file],
    env: {},
    logDestination: { write: (line: string) => void lines.push(line) },
  })
  const [grpcUrl = ''] = (log().find((line) => 'grpc' in line)?.grpc ?? []) as string[]
  return {
    grpc: grpcUrl.replace(/^https?:\/\//, ''),
    url: service.urls[0] ?? '',
    log,
    async close() {
      await service.close()
      await folder.close()
    },
  }
}

const section = (value: unknown) => (typeof value === 'object' ? value : {})

export const teeKey = generateTeeKeyPair().publicKey.jwk
export const nonce = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='

/** The runtime data of a guest without devices, as KBS sends it (spec 02 §2.3). */
export const runtimeData = primaryRuntimeData({ nonce, teePublicKeyJson: teeKey, additionalEvidence: '' })

/** Evidence of a sample guest, base64url of JSON, bound to that runtime data. */
export function sampleEvidence(
  bound: JsonObject = runtimeData,
  hash: 'sha256' | 'sha384' | 'sha512' = 'sha384',
): string {
  const reportData = encodeBase64(runtimeDataDigest(bound, hash))
  return encoded(jsonObject({ svn: '1', report_data: reportData }))
}

export const deviceData = deviceRuntimeData({ nonce, teePublicKeyJson: teeKey })

export const encoded = (value: JsonValue): string => encodeBase64Url(encodeUtf8(stringifyJson(value)))
export const encodedText = (text: string): string => encodeBase64Url(encodeUtf8(text))
export const text = (value: JsonValue): string => stringifyJson(value)

/** The entry that a KBS makes of it. */
export const sampleRequest = (fields: Record<string, unknown> = {}) => ({
  tee: 'sample',
  evidence: sampleEvidence(),
  structured_runtime_data: text(runtimeData),
  runtime_data_hash_algorithm: 'sha384',
  ...fields,
})

/** Appraises every sample guest as affirming. */
export const affirmingPolicy = `package policy

default executables := 33

executables := 3 if input.sample

trust_claims := {"executables": executables}
`

/** The claims of a token, not verified. */
export function claimsOf(token: string): Record<string, unknown> {
  return parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url')) as Record<string, unknown>
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into claims of any shape
export const submodOf = (token: string, name = 'cpu0'): any =>
  (claimsOf(token).submods as Record<string, unknown>)[name]
