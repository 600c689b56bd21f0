import { generateKeyPair } from 'node:crypto'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createApp, kbsAttest, openAttestDeps } from '@passport-kbs/app-kbs-attest'
import { kbsResource } from '@passport-kbs/app-kbs-resource'
import type { AttestationService } from '@passport-kbs/attestation-service'
import { type RunningService, type ServiceOptions, startService } from '@passport-kbs/service'
import { type AmdRoots, amdRoots } from '@passport-kbs/tee-evidence'
import { pem } from '@passport-kbs/testing'
import { SignJWT } from 'jose'

/** An organisation's folder, its administrator, and the log of its service. */
export interface Organisation {
  readonly folder: string
  /** A fresh token for its administrator. */
  adminToken(): Promise<string>
  /** All log lines so far. */
  log(): string
}

export interface Trustee extends Organisation {
  readonly url: string
  close(): Promise<void>
}

export interface Trustee1 extends Trustee {
  /** For evidence that was recorded earlier, and so answers no nonce of ours. */
  readonly attestation: AttestationService
}

/** Issuer and audience that the two organisations have agreed on. */
export const issuer = 'https://attest.trustee-1.example'
export const audience = 'trustee-2'

/** Trustee 1: verifies evidence and mints passports. It trusts AMD, but for the generation of the demo's virtual machine. */
export async function openTrustee1(virtualRoots: AmdRoots): Promise<Trustee1> {
  const organisation = await openOrganisation('trustee-1')
  const { folder } = organisation
  await writeRoots(join(folder, 'roots'), { ...amdRoots, ...virtualRoots })
  const config = `
profile = "development"
state_dir = "${folder}/state"

[http_server]
sockets = ["127.0.0.1:0"]
insecure_http = true
${adminSection(folder)}
[attestation_service]
type = "coco_as_builtin"

[attestation_service.attestation_token_broker]
issuer_name = "${issuer}"
audience = "${audience}"

[attestation_service.verifier_config.snp_verifier]
trusted_roots = "${folder}/roots"

[storage_backend]
storage_type = "LocalFs"
[storage_backend.backends.local_fs]
dir_path = "${folder}/storage"
`
  let attestation: AttestationService | undefined
  const open: ServiceOptions['open'] = async (loaded, shared) => {
    const { deps, close } = await openAttestDeps(loaded, shared)
    attestation = deps.attestation
    return { app: (isDraining) => createApp(deps, { httpServer: loaded.httpServer, isDraining }), close }
  }
  const service = await start({ ...kbsAttest, open }, organisation, config)
  if (attestation === undefined) throw new Error('the service opens what it needs before it listens')
  return { ...service, attestation }
}

/** Trustee 2: verifies passports with the keys that Trustee 1 has published, and holds the secrets. */
export async function openTrustee2(publishedKeys: string, wantedAudience = audience): Promise<Trustee> {
  const organisation = await openOrganisation('trustee-2')
  const { folder } = organisation
  await writeFile(join(folder, 'trustee-1-keys.json'), publishedKeys)
  const config = `
profile = "development" # a production profile refuses the marked passports of a development one

[http_server]
sockets = ["127.0.0.1:0"]
insecure_http = true
${adminSection(folder)}
[attestation_token]
issuers = [{ issuer = "${issuer}", audience = "${wantedAudience}", jwk_sets = ["${folder}/trustee-1-keys.json"] }]

[storage_backend]
storage_type = "LocalFs"
[storage_backend.backends.local_fs]
dir_path = "${folder}/storage"

[[plugins]]
name = "resource"
storage_backend_type = "kvstorage"
`
  return start(kbsResource, organisation, config)
}

const adminSection = (folder: string) => `
[admin]
authorization_mode = "AuthenticatedAuthorization"
[admin.authentication.bearer_jwt]
identity_providers = [{ issuer = "operator", audience = "KBS", public_key_uri = "${folder}/admin.pub" }]
[admin.authorization.regex_acl]
acls = [{ role = "admin", allowed_endpoints = "^/kbs/.+$" }]
`

type LoggedOrganisation = Organisation & { readonly destination: { write(line: string): void } }

async function openOrganisation(name: string): Promise<LoggedOrganisation> {
  const folder = await mkdtemp(join(tmpdir(), `passport-kbs-${name}-`))
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ed25519')
  await writeFile(join(folder, 'admin.pub'), publicKey.export({ format: 'pem', type: 'spki' }))
  let log = ''
  return {
    folder,
    adminToken: () =>
      new SignJWT({ role: 'admin' })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
        .setIssuer('operator')
        .setSubject('admin')
        .setAudience('KBS')
        .setIssuedAt()
        .setExpirationTime('5 minutes')
        .sign(privateKey),
    log: () => log,
    destination: {
      write(line) {
        log += line
      },
    },
  }
}

async function start(
  program: Pick<ServiceOptions, 'program' | 'version' | 'open'>,
  { destination, ...organisation }: LoggedOrganisation,
  config: string,
): Promise<Trustee> {
  const file = join(organisation.folder, 'kbs-config.toml')
  await writeFile(file, config)
  const env = { KBS_LOG: 'trace' }
  const service: RunningService = await startService({
    ...program,
    argv: ['--config-file', file],
    env,
    logDestination: destination,
  })
  const [url] = service.urls
  if (url === undefined) throw new Error('a service that runs listens somewhere')
  return { ...organisation, url, close: () => service.close() }
}

async function writeRoots(folder: string, roots: AmdRoots): Promise<void> {
  await mkdir(folder)
  for (const [generation, { ask, ark, asvk }] of Object.entries(roots)) {
    const bundle = [ask, ark, asvk].map((der) => pem('CERTIFICATE', der)).join('')
    await writeFile(join(folder, `${generation.toLowerCase()}_ask_ark_asvk.pem`), bundle)
  }
}
