/** Tokens and the keys that verify them, init data, and the operator's configuration. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readInitData } from '@passport-kbs/attestation-service'
import {
  findTeePublicKey,
  generateTeeKeyPair,
  JsonSyntaxError,
  MessageError,
  parseEarClaims,
  parseJson,
  parseTokenClaims,
  TeeKeyError,
} from '@passport-kbs/protocol'
import {
  ConfigError,
  createLogger,
  createPassportVerifier,
  keyFromJwk,
  keyFromPem,
  PassportRejected,
  type PassportVerifier,
  parseConfig,
  UnusableKey,
} from '@passport-kbs/service'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { KeyUsageFlags, makeCertificate } from '@passport-kbs/testing/tls'
import { CompactSign, type JWK } from 'jose'
import { parse as parseToml } from 'smol-toml'
import {
  isForAudience,
  MalformedToken,
  readCompactToken,
  timeFault,
} from '../../../../packages/service/src/keys/compact-token.ts'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, readWithAll } from './seeds.ts'

const now = new Date('2026-01-15T12:00:00Z')
const validity = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2027-01-01T00:00:00Z') }
const guest = generateTeeKeyPair('ECDH-ES+A256KW-P256')

function compact(...parts: readonly unknown[]): Uint8Array {
  return Buffer.from(parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.'))
}

const ear = {
  eat_profile: 'tag:github.com,2024:confidential-containers/Trustee',
  iat: 1768478400,
  nbf: 1768478400,
  exp: 1768482000,
  iss: 'CoCo-Attestation-Service',
  aud: ['resource'],
  'ear.verifier-id': { developer: 'somebody', build: '1' },
  submods: {
    cpu0: {
      'ear.status': 'affirming',
      'ear.trustworthiness-vector': { 'instance-identity': 2, configuration: 2, executables: 3, hardware: 2 },
      'ear.appraisal-policy-id': 'default',
      'ear.veraison.annotated-evidence': {
        snp: { measurement: '00' },
        runtime_data_claims: { 'tee-pubkey': guest.publicKey.jwk, nonce: 'bm9uY2U=' },
        init_data_claims: null,
      },
    },
  },
}

export const token: FuzzTarget = {
  name: 'token',
  rejections: [MalformedToken],
  seeds: () => [
    compact({ alg: 'ES256', typ: 'JWT', kid: 'one' }, ear, 'signature'),
    compact(
      { alg: 'PS384', jwk: guest.publicKey.jwk },
      { exp: 1.5, customized_claims: { runtime_data: { 'tee-pubkey': guest.publicKey.jwk } } },
      's',
    ),
  ],
  run(input) {
    const { claims } = readCompactToken(Buffer.from(input).toString('latin1'))
    timeFault(claims, now, 60)
    isForAudience(claims, 'resource')
    readWithAll(
      [MessageError, TeeKeyError],
      () => parseTokenClaims(claims),
      () => parseEarClaims(claims),
      () => findTeePublicKey(claims, ['/key']),
    )
  },
}

const authority = makeCertificate({ name: 'CA', ca: true, usage: KeyUsageFlags.keyCertSign, ...validity })
const signer = makeCertificate({
  name: 'signer',
  issuer: authority,
  usage: KeyUsageFlags.digitalSignature,
  ...validity,
})
const published = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** Signed tokens, so that what comes after the signature is reached; those that are changed stop there. */
async function passports(): Promise<Uint8Array[]> {
  const claims = Buffer.from(JSON.stringify(ear))
  const jwk = signer.publicKey.export({ format: 'jwk' })
  const x5c = [signer, authority].map(({ der }) => der.toString('base64'))
  const texts = await Promise.all([
    new CompactSign(claims).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(published.privateKey),
    new CompactSign(claims)
      .setProtectedHeader({ alg: 'ES256', jwk: { ...jwk, x5c } as JWK })
      .sign(signer.privateKey),
    new CompactSign(claims).setProtectedHeader({ alg: 'ES256', jwk: jwk as JWK }).sign(signer.privateKey),
  ])
  return texts.map((text) => Buffer.from(text))
}

/** Trusts a published key and a pinned CA. */
async function openVerifier(): Promise<PassportVerifier> {
  const folder = mkdtempSync(join(tmpdir(), 'passport-kbs-fuzz-'))
  const [keys, pinned] = [join(folder, 'keys.json'), join(folder, 'ca.pem')]
  const jwk = { ...published.publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'ES256' }
  writeFileSync(keys, JSON.stringify({ keys: [jwk] }))
  writeFileSync(pinned, authority.pem)
  const trust = { trusted_jwk_sets: [keys], trusted_certs_paths: [pinned] }
  const document = { http_server: { insecure_http: true }, attestation_token: trust }
  const { attestationToken } = parseConfig('kbs-resource', document, {})
  const logger = createLogger({ program: 'fuzz', env: {}, level: 'silent' })
  const verifier = await createPassportVerifier(attestationToken, {
    logger,
    profile: 'production',
    now: () => now,
  })
  rmSync(folder, { recursive: true })
  return verifier
}

let verifier: Promise<PassportVerifier> | undefined

export const passport: FuzzTarget = {
  name: 'passport',
  rejections: [PassportRejected],
  seeds: passports,
  async run(input) {
    verifier ??= openVerifier()
    await (await verifier).verify(Buffer.from(input).toString('latin1'))
  },
}

const signers = [
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
  generateKeyPairSync('ed25519'),
].map(({ publicKey }) => publicKey)

export const verificationKey: FuzzTarget = {
  name: 'verification-key',
  rejections: [JsonSyntaxError, UnusableKey],
  seeds: () => [
    ...jsonSeeds(
      signers.map((key) => ({ ...key.export({ format: 'jwk' }), alg: 'ES256', kid: 'k', use: 'sig' })),
    ),
    ...signers.map((key) => Buffer.from(key.export({ format: 'pem', type: 'spki' }))),
  ],
  async run(input) {
    if (input[0] === 0x7b) await keyFromJwk(parseJson(input))
    else await keyFromPem(Buffer.from(input).toString('latin1'))
  },
}

const initDataText = `version = "0.1.0"
algorithm = "sha384"
[data]
"aa.toml" = '''
[token_configs.kbs]
url = "https://kbs:8080"
ports = [1, 0x2, 3.5, inf, 1979-05-27T07:32:00Z, true]
'''
"cdh.toml" = "socket = 'unix:///run/cdh.sock'\\n[kbc]\\na.b.c = {d = 1}"
"policy.rego" = """
package agent_policy
default AllowRequestsFailingPolicy := false
policy_data := {"containers": [{"OCI": {"Args": ["sh"]}}]}
"""
`

export const initData: FuzzTarget = {
  name: 'init-data',
  rejections: [EvidenceRejected],
  seeds: () => [Buffer.from(initDataText), Buffer.from('version="0.1.9"\nalgorithm="sm3"\ndata={a="b"}')],
  run: (input) => readInitData({ kind: 'toml', text: Buffer.from(input).toString() }),
}

const configuration = `profile = "development"
[http_server]
sockets = ["127.0.0.1:50002"]
insecure_http = true
trusted_proxies = ["10.0.0.0/8"]
[admin]
authorization_mode = "AuthenticatedAuthorization"
[admin.authentication.bearer_jwt]
identity_providers = [{ issuer = "issuer", audience = "kbs", public_key_uri = "work/kbs.pem" }]
[admin.authorization.regex_acl]
acls = [{ role = "admin", allowed_endpoints = "^/kbs/.+$", methods = ["POST"] }]
[attestation_token]
trusted_certs_paths = ["work/ca-cert.pem"]
[attestation_service]
type = "coco_as_builtin"
[attestation_service.attestation_token_broker]
duration_min = 5
[attestation_service.attestation_token_broker.signer]
key_path = "work/token.key"
cert_path = "work/token-cert-chain.pem"
[attestation_service.verifier_config.snp_verifier]
crl_policy = "soft"
[storage_backend]
storage_type = "LocalFs"
[storage_backend.backends.local_fs]
dir_path = "work/storage"
[[plugins]]
name = "resource"
storage_backend_type = "kvstorage"
`

/** The files of the compose examples. */
function exampleConfigurations(): string[] {
  const folder = new URL('../../../../docker/config/', import.meta.url)
  return readdirSync(folder)
    .filter((name) => name.endsWith('.toml'))
    .map((name) => readFileSync(new URL(name, folder), 'utf8'))
}

export const config: FuzzTarget = {
  name: 'config',
  rejections: [ConfigError],
  seeds() {
    const texts = [configuration, ...exampleConfigurations()]
    return [...texts.map((text) => Buffer.from(text)), ...jsonSeeds(texts.map((text) => parseToml(text)))]
  },
  run(input) {
    const document = documentOf(Buffer.from(input).toString())
    if (document === undefined) return
    readWithAll(
      [ConfigError],
      () => parseConfig('kbs', document, {}),
      () => parseConfig('kbs-attest', document, { KBS_PROFILE: 'production' }),
      () => parseConfig('kbs-resource', document, { REDIS_URL: 'redis://localhost:6379' }),
    )
  },
}

/** A table, as the loader gets it from the parser of the file's format; undefined for anything else. */
function documentOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = text.startsWith('{') ? JSON.parse(text) : parseToml(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}
