import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse as parseToml } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import {
  builtInAttestation,
  type Config,
  ConfigError,
  type ConfigProblem,
  loadConfig,
  loadStorageChoices,
  type Program,
  parseConfig,
} from '../../src/index.ts'

const quickStart1 = `
[http_server]
sockets = ["127.0.0.1:50001"]
insecure_http = true

[admin]
authorization_mode = "DenyAll"

[attestation_token]
trusted_certs_paths = ["work/ca-cert.pem"]

[attestation_service]
type = "coco_as_builtin"

[attestation_service.attestation_token_broker.signer]
key_path = "work/token.key"
cert_path = "work/token-cert-chain.pem"
`

const quickStart2 = `
[http_server]
sockets = ["127.0.0.1:50002"]
insecure_http = true

[admin]
authorization_mode = "AuthenticatedAuthorization"

[admin.authentication.bearer_jwt]
identity_providers = [{ issuer = "issuer", audience = "kbs", public_key_uri = "work/kbs.pem" }]

[admin.authorization.regex_acl]
acls = [{ role = "admin", allowed_endpoints = "^/kbs/.+$" }]

[attestation_token]
trusted_certs_paths = ["work/ca-cert.pem"]

[storage_backend]
storage_type = "LocalFs"
[storage_backend.backends.local_fs]
dir_path = "work/storage"

[[plugins]]
name = "resource"
storage_backend_type = "kvstorage"
`

const minimal = '[http_server]\ninsecure_http = true\n'
const trusting = `${minimal}[attestation_token]\ntrusted_certs_paths = ["ca.pem"]\n`

function parse(toml: string, program: Program = 'kbs', env: Record<string, string> = {}): Config {
  return parseConfig(program, parseToml(toml) as Record<string, unknown>, env)
}

function problemsOf(
  toml: string,
  program: Program = 'kbs',
  env: Record<string, string> = {},
): readonly ConfigProblem[] {
  try {
    parse(toml, program, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  throw new Error('the configuration was accepted')
}

async function fileNamed(name: string, text: string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'kbs-config-')), name)
  await writeFile(path, text)
  return path
}

describe('the passport quick start of spec 01 §10', () => {
  it('gives KBS1 its listener, its signer and Trustee’s defaults', () => {
    const config = parse(quickStart1, 'kbs-attest')
    expect(config.httpServer.sockets).toEqual(['127.0.0.1:50001'])
    expect(config.httpServer.payloadRequestSize).toBe(2)
    const service = builtInAttestation(config)
    expect(service.type).toBe('coco_as_builtin')
    expect(service.attestationTokenBroker.signer).toEqual({
      keyPath: 'work/token.key',
      certPath: 'work/token-cert-chain.pem',
    })
    expect(service.attestationTokenBroker.durationMin).toBe(5)
    expect(service.attestationTokenBroker.issuerName).toBe('CoCo-Attestation-Service')
    expect(service.verifierConfig.snpVerifier.vcekSources).toEqual([
      { type: 'KDS', baseUrl: 'https://kdsintf.amd.com', timeoutMs: 10_000 },
    ])
    expect(service.timeout).toBe(5)
    expect(config.storage.data).toEqual({ type: 'Memory' })
  })

  it('gives KBS2 its administrators, its trust and its resources', () => {
    const config = parse(quickStart2, 'kbs-resource')
    expect(config.admin.authentication?.bearerJwt.identityProviders).toEqual([
      { issuer: 'issuer', audience: 'kbs', publicKeyUri: 'work/kbs.pem' },
    ])
    expect(config.attestationToken.trustedCertsPaths).toEqual(['work/ca-cert.pem'])
    expect(config.storage.data).toEqual({ type: 'LocalFs', dirPath: 'work/storage' })
    expect(config.storage.sessions).toEqual({ type: 'Memory' })
    expect(config.plugins).toEqual([{ name: 'resource', storageBackendType: 'KvStorage', mounts: [] }])
    expect(config.profile).toBe('production')
    expect(config.warnings).toEqual([])
  })
})

describe('where the configuration comes from', () => {
  it('is the file of -c, --config-file or KBS_CONFIG_FILE', async () => {
    const file = await fileNamed('kbs.toml', quickStart2)
    for (const argv of [['-c', file], ['--config-file', file], [`--config-file=${file}`]]) {
      expect((await loadConfig({ program: 'kbs-resource', argv, env: {} })).sourceFile).toBe(file)
    }
    const fromEnv = await loadConfig({ program: 'kbs-resource', argv: [], env: { KBS_CONFIG_FILE: file } })
    expect(fromEnv.httpServer.sockets).toEqual(['127.0.0.1:50002'])
  })

  it('may begin with a byte order mark', async () => {
    const file = await fileNamed('kbs.toml', `\uFEFF${quickStart2}`)
    expect((await loadConfig({ program: 'kbs-resource', argv: ['-c', file], env: {} })).plugins).toHaveLength(
      1,
    )
  })

  it('is TOML, YAML or JSON, by extension', async () => {
    const yaml = await fileNamed(
      'kbs.yaml',
      'http_server:\n  insecure_http: true\n  sockets: ["127.0.0.1:1"]\n',
    )
    const json = await fileNamed(
      'kbs.json',
      '{"http_server":{"insecure_http":true,"sockets":["127.0.0.1:1"]}}',
    )
    for (const file of [yaml, json]) {
      const config = await loadConfig({ program: 'kbs-attest', argv: ['-c', file], env: {} })
      expect(config.httpServer.sockets).toEqual(['127.0.0.1:1'])
    }
  })

  it.each([
    ['kbs.ini', 'x', /the format is unknown.*toml/],
    ['kbs.toml', 'a = = 1', /cannot be parsed at line 1, column \d+/],
    ['kbs.yaml', 'a: [1', /cannot be parsed/],
    ['kbs.json', '{"a":1,"a":2}', /cannot be parsed/],
    ['kbs.json', '[]', /not a table/],
    ['kbs.toml', `a = "${'x'.repeat(1_048_576)}"`, /larger than 1 MiB/],
  ])('refuses %s with %s', async (name, text, message) => {
    const file = await fileNamed(name, text)
    await expect(loadConfig({ program: 'kbs', argv: ['-c', file], env: {} })).rejects.toThrow(message)
  })

  it('refuses a file that is not there, and an argument that is not known', async () => {
    await expect(loadConfig({ program: 'kbs', argv: ['-c', '/nowhere/kbs.toml'], env: {} })).rejects.toThrow(
      /ENOENT/,
    )
    await expect(loadConfig({ program: 'kbs', argv: ['--verbose'], env: {} })).rejects.toThrow(
      /--config-file <file>/,
    )
  })

  it('never quotes the text of a file that cannot be parsed', async () => {
    const file = await fileNamed('kbs.toml', '[attestation_service]\napi_key = "hunter2\n')
    await expect(loadConfig({ program: 'kbs', argv: ['-c', file], env: {} })).rejects.not.toThrow(/hunter2/)
  })
})

describe('an unknown or wrong key', () => {
  it('is refused with its path and the nearest known key', () => {
    expect(problemsOf('[http_server]\ninsecure_htp = true\n')).toContainEqual({
      path: 'http_server.insecure_htp',
      problem: 'unknown key',
      remedy: 'Did you mean "insecure_http"?',
    })
  })

  it('is pointed to the section where it belongs', () => {
    expect(problemsOf(`trusted_jwk_sets = ["x"]\n${minimal}`)[0]).toMatchObject({
      path: 'trusted_jwk_sets',
      remedy: 'It belongs in [attestation_token]',
    })
  })

  it('is refused with the keys there are, when none is near', () => {
    const [problem] = problemsOf(`${minimal}[tee_keys]\nquantum = true\n`)
    expect(problem?.remedy).toBe('Remove it; the keys here are: allow_rsa1_5, allow_ml_kem')
  })

  it('is found inside variants and lists', () => {
    const paths = problemsOf(`${minimal}
[attestation_service]
type = "CoCoASBuiltIn"
[attestation_service.verifier_config.snp_verifier]
vcek_sources = [{ type = "KDS", url = "https://x" }]
[[plugins]]
name = "resource"
storage_backend_type = "KvStorage"
tokn = "t"
`).map(({ path }) => path)
    expect(paths).toContain('attestation_service.verifier_config.snp_verifier.vcek_sources[0].url')
    expect(paths).toContain('plugins[0].tokn')
  })

  it('is refused for a wrong type, with the right one and what the key means', () => {
    const [problem] = problemsOf('[http_server]\ninsecure_http = "yes"\n')
    expect(problem?.path).toBe('http_server.insecure_http')
    expect(problem?.problem).toMatch(/expected boolean/)
    expect(problem?.remedy).toMatch(/^Give true or false \(Plain HTTP/)
  })

  it('reports all problems at once', () => {
    const paths = problemsOf(
      '[http_server]\nsockets = 5\nfoo = 1\n[admin]\nauthorization_mode = "Maybe"\n',
    ).map((p) => p.path)
    expect(paths).toEqual(
      expect.arrayContaining(['http_server.sockets', 'http_server.foo', 'admin.authorization_mode']),
    )
  })

  it.each([
    ['[[plugins]]\nname = "nonsense"\n', 'plugins[0].name', /"resource"/],
    ['[[plugins]]\nname = "resource"\n', 'plugins[0].storage_backend_type', /"KvStorage"/],
    ['[attestation_service]\ntype = "other"\n', 'attestation_service.type', /"coco_as_builtin"/],
  ])('names what is supported: %j', (toml, path, remedy) => {
    const problem = problemsOf(minimal + toml).find((p) => p.path === path)
    expect(problem?.remedy).toMatch(remedy)
  })
})

describe('keys that Trustee knows and we do not', () => {
  it('are accepted with a warning where they mean nothing', () => {
    const config = parse(`${minimal}
[policy_engine]
policy_path = "/opa/policy.rego"
[attestation_service]
type = "coco_as_builtin"
work_dir = "/opt/x"
[attestation_service.attestation_token_broker]
type = "Ear"
[attestation_service.rvps_config]
type = "BuiltIn"
[attestation_service.rvps_config.extractors.swid_extractor]
[attestation_service.verifier_config.nvidia_verifier]
type = "Local"
[attestation_service.verifier_config.dcap_verifier]
use_secure_cert = true
[attestation_token]
insecure_key = false
`)
    expect(config.warnings.filter((warning) => warning.includes('is ignored')).length).toBe(7)
  })

  it.each([
    ['[attestation_token]\ninsecure_key = true\n', 'attestation_token.insecure_key', /insecure_header_jwk/],
    ['[admin]\ntype = "DenyAll"\n', 'admin.type', /authorization_mode/],
    ['[admin]\ninsecure_api = true\n', 'admin.insecure_api', /InsecureAllowAll/],
    ['[as_config]\n', 'as_config', /attestation_service/],
    [
      '[attestation_service.verifier_config.dcap_verifier]\nuse_secure_cert = false\n',
      'attestation_service.verifier_config.dcap_verifier.use_secure_cert',
      /"ca" for a PCCS/,
    ],
  ])('are refused where they would weaken the service: %j', (toml, path, remedy) => {
    expect(problemsOf(minimal + toml)).toContainEqual(
      expect.objectContaining({ path, remedy: expect.stringMatching(remedy) }),
    )
  })
})

describe('aliases', () => {
  it('are taken in every spelling of Trustee', () => {
    const config = parse(`${trusting}
[attestation_service]
type = "CoCoASBuiltIn"
[storage_backend]
storage_type = "local_fs"
[storage_backend.backends.local_fs]
[[plugins]]
name = "ResourceStorage"
storage_backend_type = "kvstorage"
`)
    expect(config.attestationService.type).toBe('coco_as_builtin')
    expect(config.storage.data).toEqual({
      type: 'LocalFs',
      dirPath: '/opt/confidential-containers/storage/local_fs',
    })
    expect(config.plugins).toEqual([{ name: 'resource', storageBackendType: 'KvStorage', mounts: [] }])
  })

  it('do not make ours of names that only look alike', () => {
    expect(
      parse(`${minimal}[tee_keys]
allow_rsa1_5 = true
allow_ml_kem = true
`).teeKeys,
    ).toEqual({ allowRsa15: true, allowMlKem: true })
  })
})

describe('what Trustee has and this version has not', () => {
  const intel = 'type = "intel_ta"\nbase_url = "https://ita"\napi_key = "k"\ncerts_file = "https://portal"\n'

  it.each([
    ['[[plugins]]\nname = "Sample"\nitem = "x"\n', 'plugins[0].name', '"Sample"', /Remove the entry/],
    ['[[plugins]]\nname = "provisioner"\nkey_length = 8\n', 'plugins[0].name', '"provisioner"', /Remove/],
    [
      '[[plugins]]\nname = "external"\nbackends = [{ name = "e", endpoint = "http://e", tls_mode = "x" }]\n',
      'plugins[0].name',
      '"external"',
      /Remove/,
    ],
    ['[[plugins]]\nname = "Pkcs11"\nmodule = "/p.so"\n', 'plugins[0].name', '"Pkcs11"', /Remove/],
    [
      '[[plugins]]\nname = "resource"\nstorage_backend_type = "aws"\n',
      'plugins[0].storage_backend_type',
      '"aws"',
      /KvStorage/,
    ],
  ])('is refused by name, with one problem: %j', (toml, path, value, remedy) => {
    const [problem, ...others] = problemsOf(minimal + toml)
    expect(problem).toEqual({
      path,
      problem: `${value} is not available in this version`,
      remedy: expect.stringMatching(remedy),
    })
    expect(others).toEqual([])
  })

  it('does not hide what else is wrong', () => {
    const toml = `${minimal}foo = 1\n[[plugins]]\nname = "sample"\nitem = "x"\n[[plugins]]\nname = "resource"\n`
    expect(problemsOf(toml).map(({ path }) => path)).toEqual([
      'plugins[0].name',
      'http_server.foo',
      'plugins[1].storage_backend_type',
    ])
  })

  it('is ignored by a program in which the section has no effect', () => {
    const plugin = `${minimal}[[plugins]]\nname = "sample"\n`
    expect(parse(plugin, 'kbs-attest').warnings.join()).toMatch(/plugins have no effect/)
    expect(parse(plugin, 'attestation-service').warnings.join()).toMatch(/plugins and admin have no effect/)
    const service = `${trusting}[attestation_service]\n${intel}`
    expect(parse(service, 'kbs-resource').warnings.join()).toMatch(/attestation_service has no effect/)
  })
})

describe('storage', () => {
  it('needs the section of the type in use', () => {
    expect(problemsOf(`${minimal}[storage_backend]\nstorage_type = "LocalFs"\n`)[0]).toMatchObject({
      path: 'storage_backend.backends.local_fs',
    })
  })

  it('is Redis for sessions where it is Redis for everything, at the address of REDIS_URL', () => {
    const toml = `${minimal}[storage_backend]\nstorage_type = "Redis"\n[storage_backend.backends.redis]\n`
    const { storage } = parse(toml, 'kbs', { REDIS_URL: 'redis://elsewhere:1' })
    expect(storage.sessions).toMatchObject({ type: 'Redis', redis: { url: 'redis://elsewhere:1' } })
    expect(storage.referenceValues).toEqual(storage.data)
  })

  it('is PostgreSQL for sessions where it is that for everything, at the address of POSTGRES_URL', () => {
    const toml = `${minimal}[storage_backend]\nstorage_type = "postgres"\n[storage_backend.backends.postgres]\npool_size = 9\n`
    const { storage } = parse(toml, 'kbs', { POSTGRES_URL: 'postgres://kbs:pw@elsewhere:1/secrets' })
    expect(storage.sessions).toMatchObject({
      type: 'Postgres',
      postgres: { host: 'elsewhere', port: 1, username: 'kbs', db: 'secrets', pool_size: 9 },
    })
    expect(storage.referenceValues).toEqual(storage.data)
  })

  it('is encrypted where the file says so, whatever holds it', () => {
    const toml = `${minimal}[storage_backend]\nstorage_type = "LocalFs"\nbackends.local_fs = {}\n[storage_backend.encryption]\nkey_file = "storage.key"\n`
    const encryption = {
      keyFile: 'storage.key',
      previousKeyFiles: [],
      namespaces: ['repository'],
      require: false,
    }
    const { storage } = parse(toml)
    expect(storage.data).toMatchObject({ type: 'LocalFs', encryption })
    expect(storage.referenceValues).toEqual(storage.data)
    expect(problemsOf(`${toml}keyfile = "x"\n`)[0]).toMatchObject({
      path: 'storage_backend.encryption.keyfile',
    })
  })

  it('can be asked for alone, of a file that is fit for nothing else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kbs-config-'))
    const file = join(folder, 'kbs.toml')
    await writeFile(
      file,
      'unknown = 1\n[storage_backend]\nstorage_type = "postgres"\n[attestation_service]\nstorage_type = "Memory"\n',
    )
    expect(await loadStorageChoices(file, { POSTGRES_URL: 'postgres://u:p@h/d' })).toMatchObject({
      data: { type: 'Postgres', postgres: { host: 'h' } },
      attestationPolicies: { type: 'Memory' },
    })
    await expect(loadStorageChoices(file, {})).rejects.toThrow(/storage_backend.backends.postgres/)
    await writeFile(file, '[storage_backend]\nstorage_type = "etcd"\n')
    await expect(loadStorageChoices(file, {})).rejects.toThrow(ConfigError)
    await rm(folder, { recursive: true })
  })

  it('holds as many sessions as max_sessions says', () => {
    expect(parse(minimal).maxSessions).toBe(100_000)
    expect(parse(`max_sessions = 7\n${minimal}`).maxSessions).toBe(7)
    expect(problemsOf(`max_sessions = 0\n${minimal}`)[0]).toMatchObject({ path: 'max_sessions' })
  })
})

describe('rules between keys', () => {
  it.each([
    ['', 'http_server.private_key', 'kbs'],
    ['[http_server]\ninsecure_http = true\nsockets = ["999.1.1.1:80"]\n', 'http_server.sockets[0]', 'kbs'],
    [
      '[http_server]\ninsecure_http = true\ntls_profile = "modern"\ntls_max_version = "1.2"\nprivate_key="k"\ncertificate="c"\n',
      'http_server.tls_max_version',
      'kbs',
    ],
    [
      '[http_server]\ninsecure_http = true\ntrusted_proxies = ["10.0.0.0/99"]\n',
      'http_server.trusted_proxies[0]',
      'kbs',
    ],
    [
      `${minimal}[admin]\nauthorization_mode = "AuthenticatedAuthorization"\n`,
      'admin.authentication.bearer_jwt',
      'kbs',
    ],
    [minimal, 'attestation_token', 'kbs-resource'],
    [
      `${minimal}${'[[plugins]]\nname="resource"\nstorage_backend_type="KvStorage"\n'.repeat(2)}`,
      'plugins[1].name',
      'kbs',
    ],
    [
      `${minimal}[attestation_token]\ntrusted_jwk_sets = ["http://10.0.0.1/jwks"]\n`,
      'attestation_token.trusted_jwk_sets[0]',
      'kbs',
    ],
    [
      `${minimal}[attestation_token]\ntrusted_jwk_sets = ["http://127.0.0.1/jwks"]\n`,
      'attestation_token.trusted_jwk_sets[0]',
      'kbs',
    ],
    [
      `${minimal}[admin.authorization.regex_acl]\nacls = [{ role = "a", allowed_endpoints = "^/kbs/a|.*$" }]\n`,
      'admin.authorization.regex_acl.acls[0].allowed_endpoints',
      'kbs',
    ],
  ] as const)('%j is refused at %s', (toml, path, program) => {
    expect(problemsOf(toml, program).map((problem) => problem.path)).toContain(path)
  })

  it('lets kbs trust its own signer', () => {
    expect(parse(minimal, 'kbs').attestationToken.trustedJwkSets).toEqual([])
  })
})

describe('the production profile', () => {
  const open =
    '[http_server]\ninsecure_http = true\nsockets = ["0.0.0.0:8080"]\n[admin]\nauthorization_mode = "InsecureAllowAll"\n'

  it.each([
    [open, 'admin.authorization_mode'],
    [`${minimal}[attestation_token]\ninsecure_header_jwk = true\n`, 'attestation_token.insecure_header_jwk'],
    [`${minimal}[policy]\ndefault_policy = "allow-all"\n`, 'policy.default_policy'],
    ...[
      ['snp_verifier', 'cert_validity = "ignore"'],
      ['snp_verifier', 'trusted_roots = "roots"'],
      ['dcap_verifier', 'trusted_root = "root.pem"'],
      ['csv_verifier', 'trusted_root = "root.cert"'],
    ].map(([section, setting = '']): [string, string] => [
      `${minimal}[attestation_service.verifier_config.${section}]\n${setting}\n`,
      `attestation_service.verifier_config.${section}.${setting.split(' ')[0]}`,
    ]),
  ])('refuses %j, which the development profile takes with a warning', (toml, path) => {
    expect(problemsOf(toml).map((problem) => problem.path)).toContain(path)
    expect(problemsOf(toml).find((problem) => problem.path === path)?.remedy).toMatch(
      /profile = "development"/,
    )
    expect(parse(toml, 'kbs', { KBS_PROFILE: 'development' }).warnings.join()).toMatch(
      /profile is "development"/,
    )
  })

  it('takes InsecureAllowAll on loopback, and plain HTTP anywhere, with warnings', () => {
    expect(parse(open.replace('0.0.0.0', '127.0.0.1')).warnings.join()).toMatch(/InsecureAllowAll/)
    expect(
      parse('[http_server]\ninsecure_http = true\nsockets = ["0.0.0.0:8080"]\n').warnings.join(),
    ).toMatch(/a proxy in front must end TLS/)
  })

  it('is what a file gets that names none', () => {
    expect(parse(minimal).profile).toBe('production')
    expect(problemsOf(minimal, 'kbs', { KBS_PROFILE: 'prod' })[0]).toMatchObject({ path: 'profile' })
  })
})

describe('mounts beside the back end of secrets', () => {
  const plugin = `${minimal}[[plugins]]\nname = "resource"\nstorage_backend_type = "kvstorage"\n`
  const mount = (prefix: string) => `{ prefix = "${prefix}", directory = "/mnt/x" }`

  it('are a prefix of two segments and a directory', () => {
    expect(parse(`${plugin}mounts = [${mount('default/akv')}]\n`).plugins[0]?.mounts).toEqual([
      { prefix: 'default/akv', directory: '/mnt/x' },
    ])
  })

  it.each(['default', 'default/akv/', '/default/akv', 'a/b/c', '../akv', 'default/..', ''])(
    'are not at %j',
    (prefix) => {
      const [problem] = problemsOf(`${plugin}mounts = [${mount(prefix)}]\n`)
      expect(problem?.path).toBe('plugins[0].mounts[0].prefix')
    },
  )

  it('are one for a prefix', () => {
    const [problem] = problemsOf(`${plugin}mounts = [${mount('a/b')}, ${mount('a/b')}]\n`)
    expect(problem).toMatchObject({ path: 'plugins[0].mounts', problem: 'a prefix is used twice' })
  })
})

describe('secrets in Vault', () => {
  const vault = (keys: string) =>
    `${minimal}[[plugins]]\nname = "resource"\nstorage_backend_type = "vault"\n${keys}\n`
  const url = 'vault_url = "https://vault.example:8200"\n'

  it('are configured with the keys of Trustee', () => {
    const keys = `${url}token = "t"\nmount_path = "kv"\nverify_ssl = true\nca_certs = ["/ca.pem"]`
    expect(parse(vault(keys)).plugins[0]).toMatchObject({
      storageBackendType: 'Vault',
      token: 't',
      mountPath: 'kv',
      kvVersion: 1,
      caCerts: ['/ca.pem'],
    })
    expect(parse(vault(`${url}kubernetes = { role = "kbs" }`)).plugins[0]).toMatchObject({
      kubernetes: { role: 'kbs', authPath: 'kubernetes' },
    })
    expect(parse(vault('vault_url = "http://127.0.0.1:8100"\ntoken = "t"')).plugins).toHaveLength(1)
  })

  it.each([
    [`${url}token = "t"\nverify_ssl = false`, 'verify_ssl'],
    [url, 'token'],
    [`${url}token = "t"\ntoken_file = "/t"`, 'token'],
    [`${url}token = "t\\n"`, 'token'],
    ['token = "t"', 'vault_url'],
    ['vault_url = "http://vault.example"\ntoken = "t"', 'vault_url'],
    ['vault_url = "https://u:p@vault.example"\ntoken = "t"', 'vault_url'],
    ['vault_url = "https://vault.example/v1"\ntoken = "t"', 'vault_url'],
    [`${url}token = "t"\nmount_path = "../sys"`, 'mount_path'],
    [`${url}token = "t"\nkv_version = 3`, 'kv_version'],
  ])('are refused with %j, and the token is not repeated', (keys, key) => {
    const [problem] = problemsOf(vault(keys))
    expect(problem?.path).toBe(`plugins[0].${key}`)
    expect(problem?.problem).not.toContain('u:p')
  })
})

describe('secrets in Azure Key Vault', () => {
  const azure = (keys: string) =>
    `${minimal}[[plugins]]\nname = "resource"\nstorage_backend_type = "AzureKeyVault"\n${keys}\n`
  const uri = 'vault_uri = "https://my-vault.vault.azure.net"\n'

  it('are read only, cached for a minute, and by workload identity, unless told otherwise', () => {
    expect(parse(azure(uri)).plugins[0]).toMatchObject({
      credential: 'workload-identity',
      allowWrite: false,
      cacheMs: 60_000,
      staleMs: 0,
      names: [],
    })
    const names = 'names = [{ path = "default/db/password", secret = "db-password" }]'
    expect(parse(azure(uri + names)).plugins).toHaveLength(1)
  })

  it.each([
    ['', 'vault_uri'],
    ['vault_uri = "http://my-vault.vault.azure.net"', 'vault_uri'],
    ['vault_uri = "https://my-vault.vault.azure.net/secrets"', 'vault_uri'],
    [`${uri}credential = "cli"`, 'credential'],
    [`${uri}names = [{ path = "a/b", secret = "c" }]`, 'names[0].path'],
    [`${uri}names = [{ path = "a/b/", secret = "c" }]`, 'names[0].path'],
    [`${uri}names = [{ path = "a/b/c", secret = "c_d" }]`, 'names[0].secret'],
  ])('are refused with %j', (keys, key) => {
    expect(problemsOf(azure(keys))[0]?.path).toBe(`plugins[0].${key}`)
  })
})
