import { isIP } from 'node:net'
import { AclError, compileAcl } from '../admin/acl.ts'
import {
  isApiOnLoopback,
  isLoopback,
  isSameSocket,
  onLoopback,
  referenceValueAddress,
  splitSocket,
} from './addresses.ts'
import type { Program } from './config.ts'
import type { ConfigProblem } from './config-error.ts'
import type { RawConfig } from './schema.ts'
import { debugPermissions, verifierContradictions } from './verifier-rules.ts'

type Rule = (config: RawConfig, program: Program) => readonly ConfigProblem[]

/** What keys can only be wrong about together (spec 01 §6.1, §7), and what the production profile forbids. */
export function rulesBroken(program: Program, config: RawConfig): readonly ConfigProblem[] {
  return rules.flatMap((rule) => rule(config, program))
}

const problem = (path: string, text: string, remedy: string): ConfigProblem => ({
  path,
  problem: text,
  remedy,
})

const tlsMaterial: Rule = ({ http_server: http, metrics }) => {
  const isMetricsOverTls = metrics.sockets !== undefined && metrics.insecure_http === false
  if (http.insecure_http && !isMetricsOverTls) return []
  return (['private_key', 'certificate'] as const)
    .filter((key) => http[key] === undefined)
    .map((key) =>
      problem(`http_server.${key}`, 'is missing', 'Name the PEM file, or set insecure_http = true'),
    )
}

const tlsVersions: Rule = ({ http_server: http }) => {
  const lowest = http.tls_min_version ?? (http.tls_profile === 'modern' ? '1.3' : '1.2')
  const highest = http.tls_max_version ?? '1.3'
  if (lowest <= highest) return []
  return [
    problem(
      'http_server.tls_max_version',
      `is below the lowest version ${lowest}`,
      'Lower tls_min_version or raise this',
    ),
  ]
}

const listenAddresses: Rule = ({ http_server: http, metrics }) => [
  ...addressProblems('http_server.sockets', http.sockets, '0.0.0.0:8080'),
  ...addressProblems('metrics.sockets', metrics.sockets ?? [], '127.0.0.1:9090'),
  ...http.trusted_proxies.flatMap((network, index) =>
    isNetwork(network)
      ? []
      : [
          problem(
            `http_server.trusted_proxies[${index}]`,
            'is no address or network',
            'Write e.g. "10.0.0.0/8"',
          ),
        ],
  ),
]

function addressProblems(key: string, sockets: readonly string[], example: string): readonly ConfigProblem[] {
  return sockets.flatMap((socket, index) => {
    const { host, port } = splitSocket(socket)
    if ((host === 'localhost' || isIP(host) !== 0) && port <= 65_535) return []
    return [problem(`${key}[${index}]`, 'is no address', `Write ip:port, e.g. "${example}"`)]
  })
}

/** Metrics that guests are not to read need a socket that no guest is told of. */
const metricsSockets: Rule = ({ http_server: http, attestation_api: api, metrics }, program) => {
  const others: [string, readonly string[]][] = [['http_server.sockets', http.sockets]]
  if (program === 'attestation-service') others.push(['attestation_api.grpc_sockets', api.grpc_sockets])
  return (metrics.sockets ?? []).flatMap((socket, index) =>
    others
      .filter(([, sockets]) => sockets.some((other) => isSameSocket(socket, other)))
      .map(([key]) =>
        problem(`metrics.sockets[${index}]`, `is one of ${key} too`, 'Choose another port, or remove it'),
      ),
  )
}

/** Who may call the attestation service. */
const apiClients: Rule = (config, program) => {
  if (program !== 'attestation-service') return []
  const { grpc_sockets, client_ca, clients, anonymous } = config.attestation_api
  const found = [...addressProblems('attestation_api.grpc_sockets', grpc_sockets, '0.0.0.0:50004')]
  if (clients.some((client) => client.certificate_name !== undefined)) {
    if (client_ca === undefined)
      found.push(problem('attestation_api.client_ca', 'is missing', 'Name the CA of client certificates'))
    if (config.http_server.insecure_http)
      found.push(
        problem(
          'http_server.insecure_http',
          'without TLS no client can show a certificate',
          'Use TLS, or token_file',
        ),
      )
  }
  if (clients.some((client) => client.token_file !== undefined) && isPlainOffLoopback(config))
    found.push(
      problem('http_server.insecure_http', 'bearer tokens would travel unencrypted', 'Use TLS, or loopback'),
    )
  if (anonymous?.includes('administer') && config.profile === 'production' && !isApiOnLoopback(config))
    found.push(
      problem(
        'attestation_api.anonymous',
        'lets anyone who reaches these sockets replace policies and reference values',
        'Give "administer" to clients only, listen on loopback, or set profile = "development"',
      ),
    )
  return found
}

const adminSections: Rule = ({ admin }) => {
  if (admin.authorization_mode !== 'AuthenticatedAuthorization') return []
  const missing: ConfigProblem[] = []
  if (admin.authentication?.bearer_jwt === undefined) {
    missing.push(
      problem('admin.authentication.bearer_jwt', 'is missing', 'Add identity_providers, or use DenyAll'),
    )
  }
  if (admin.authorization?.regex_acl === undefined) {
    missing.push(problem('admin.authorization.regex_acl', 'is missing', 'Add acls, or use DenyAll'))
  }
  return missing
}

const aclExpressions: Rule = ({ admin }) =>
  (admin.authorization?.regex_acl.acls ?? []).flatMap((acl, index) => {
    try {
      compileAcl(acl.allowed_endpoints)
      return []
    } catch (error) {
      if (!(error instanceof AclError)) throw error
      const path = `admin.authorization.regex_acl.acls[${index}].allowed_endpoints`
      return [problem(path, error.message, error.remedy)]
    }
  })

const uniquePlugins: Rule = ({ plugins }) =>
  plugins.flatMap((plugin, index) =>
    plugins.findIndex((other) => other.name === plugin.name) < index
      ? [
          problem(
            `plugins[${index}].name`,
            `"${plugin.name}" is configured twice`,
            'Remove one of the entries',
          ),
        ]
      : [],
  )

/** A remote attestation service, and the way to it. */
const remoteAttestation: Rule = ({ attestation_service: service }, program) => {
  if (service.type !== 'coco_as_grpc' || program === 'kbs-resource') return []
  if (program === 'attestation-service') {
    const text = 'this program is such a service; it asks no other'
    return [problem('attestation_service.type', text, 'Use "coco_as_builtin"')]
  }
  return wayProblems(service, { section: 'attestation_service', address: 'as_addr' }, service.as_addr)
}

/** A reference value provider in another process, and the way to it. */
const remoteReferenceValues: Rule = ({ attestation_service: service }, program) => {
  if (service.type !== 'coco_as_builtin' || program === 'kbs-resource') return []
  const { rvps_config: rvps } = service
  if (rvps.type !== 'GrpcRemote') return []
  const section = 'attestation_service.rvps_config'
  return wayProblems(rvps, { section, address: 'address' }, referenceValueAddress(rvps.address))
}

/** What cannot be right about the address of a gRPC service, and what is shown to it. */
function wayProblems(
  way: {
    readonly ca?: string | undefined
    readonly client_certificate?: string | undefined
    readonly client_key?: string | undefined
    readonly token_file?: string | undefined
  },
  { section, address }: { readonly section: string; readonly address: string },
  value: string,
): readonly ConfigProblem[] {
  const at = (key: string) => `${section}.${key}`
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || (url.pathname !== '/' && url.pathname !== ''))
    return [problem(at(address), 'is no address', 'Write http://host:port or https://host:port')]
  const found: ConfigProblem[] = []
  if ((way.client_certificate === undefined) !== (way.client_key === undefined))
    found.push(problem(at('client_certificate'), 'goes with client_key', 'Set both, or neither'))
  const needsTls = (['ca', 'client_certificate'] as const).find((key) => way[key] !== undefined)
  if (url.protocol === 'http:' && needsTls !== undefined)
    found.push(problem(at(needsTls), 'has no use without TLS', `Write https:// in ${address}, or remove it`))
  if (url.protocol === 'http:' && way.token_file !== undefined && !isLoopback(url.hostname))
    found.push(
      problem(at('token_file'), 'the token would travel unencrypted', `Write https:// in ${address}`),
    )
  return found
}

/** Intel Trust Authority, and the way to it. */
const intelTrustAuthority: Rule = ({ profile, attestation_service: service }, program) => {
  if (service.type !== 'intel_ta' || program === 'kbs-resource') return []
  const at = (key: string) => `attestation_service.${key}`
  if (program === 'attestation-service')
    return [problem(at('type'), 'this program verifies evidence itself', 'Use "coco_as_builtin"')]
  const found: ConfigProblem[] = []
  const { base_url: baseUrl } = service
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  const isSafe = /^https?:$/.test(url?.protocol ?? '') && isAcceptableKeySource(baseUrl, profile)
  if (url === undefined || !isSafe || url.search + url.hash + url.username !== '')
    found.push(
      problem(at('base_url'), 'is no https address', 'Write e.g. https://api.trustauthority.intel.com'),
    )
  if (service.api_key !== undefined)
    found.push(problem(at('api_key'), 'is a secret', 'Write it to a file, and name that in api_key_file'))
  else if (service.api_key_file === undefined)
    found.push(problem(at('api_key_file'), 'is missing', 'Name the file with the API key'))
  return found
}

const passportTrust: Rule = ({ attestation_token: token, attestation_service: service }, program) => {
  const trusted =
    token.insecure_header_jwk ||
    token.trusted_certs_paths.length + token.trusted_jwk_sets.length + token.issuers.length > 0
  const needed =
    program === 'kbs-resource' ||
    (program === 'kbs' && service.type === 'coco_as_grpc' && service.jwk_set_uri === undefined) ||
    (program === 'kbs' && service.type === 'intel_ta')
  if (trusted || !needed) return []
  return [
    problem(
      'attestation_token',
      'names no trusted keys, so no passport could be accepted',
      program === 'kbs' && service.type === 'coco_as_grpc'
        ? 'Set attestation_service.jwk_set_uri, or trusted_certs_paths, trusted_jwk_sets or issuers'
        : 'Set trusted_certs_paths, trusted_jwk_sets or issuers',
    ),
  ]
}

const keySources: Rule = ({ profile, attestation_token: token, admin, attestation_service: service }) => {
  const sources: [string, string | undefined][] = [
    ...token.trusted_jwk_sets.map((source, i): [string, string] => [
      `attestation_token.trusted_jwk_sets[${i}]`,
      source,
    ]),
    ...token.issuers.flatMap((issuer, i) =>
      issuer.jwk_sets.map((source, j): [string, string] => [
        `attestation_token.issuers[${i}].jwk_sets[${j}]`,
        source,
      ]),
    ),
    ...(admin.authentication?.bearer_jwt.identity_providers ?? []).flatMap(
      (provider, i): [string, string | undefined][] => [
        [`admin.authentication.bearer_jwt.identity_providers[${i}].public_key_uri`, provider.public_key_uri],
        [`admin.authentication.bearer_jwt.identity_providers[${i}].jwk_set_uri`, provider.jwk_set_uri],
      ],
    ),
    ...(service.type === 'coco_as_grpc'
      ? [['attestation_service.jwk_set_uri', service.jwk_set_uri] as [string, string | undefined]]
      : []),
    ...(service.type === 'intel_ta'
      ? [['attestation_service.certs_file', service.certs_file] as [string, string]]
      : []),
  ]
  return sources.flatMap(([path, source]) => {
    if (source === undefined || isAcceptableKeySource(source, profile)) return []
    return [
      problem(
        path,
        'keys would be read over a connection that anyone can change',
        'Use https://, file:// or a path',
      ),
    ]
  })
}

/**
 * Whether keys may be read from `source`: a path, `file://` or `https://`; `http://` only from loopback and only in the
 * development profile.
 */
export function isAcceptableKeySource(source: string, profile: RawConfig['profile']): boolean {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(source)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'file') return true
  if (!URL.canParse(source)) return false
  const { hostname } = new URL(source)
  return scheme === 'https' || (scheme === 'http' && profile === 'development' && isLoopback(hostname))
}

/** Verifier settings with which evidence that no vendor vouches for would pass. */
const vendorTrust: Rule = ({ profile, attestation_service: service }, program) => {
  if (profile === 'development' || program === 'kbs-resource' || service.type !== 'coco_as_builtin') return []
  const { snp_verifier: snp, dcap_verifier: dcap, csv_verifier: csv } = service.verifier_config
  const refused: [boolean, string, string][] = [
    [snp.cert_validity === 'ignore', 'snp_verifier.cert_validity', 'expired certificates would be accepted'],
    [snp.trusted_roots !== undefined, 'snp_verifier.trusted_roots', 'replaces the roots of AMD'],
    [dcap.trusted_root !== undefined, 'dcap_verifier.trusted_root', 'replaces the root of Intel'],
    [csv.trusted_root !== undefined, 'csv_verifier.trusted_root', 'replaces the root of Hygon'],
  ]
  return refused
    .filter(([broken]) => broken)
    .map(([, key, text]) =>
      problem(
        `attestation_service.verifier_config.${key}`,
        text,
        'Remove it, or set profile = "development"',
      ),
    )
}

const verifierSettings: Rule = ({ profile, attestation_service: service }, program) => {
  if (program === 'kbs-resource' || service.type !== 'coco_as_builtin') return []
  const { verifier_config: verifiers } = service
  return [
    ...verifierContradictions(verifiers),
    ...(profile === 'production' ? debugPermissions(verifiers) : []),
  ]
}

const productionOnly: Rule = (config) => {
  if (config.profile !== 'production') return []
  const development = 'or set profile = "development"'
  const refused: [boolean, ConfigProblem][] = [
    [
      config.admin.authorization_mode === 'InsecureAllowAll' && !onLoopback(config),
      problem(
        'admin.authorization_mode',
        'InsecureAllowAll lets anyone who reaches these sockets replace policies and secrets',
        `Use AuthenticatedAuthorization or DenyAll, listen on loopback, ${development}`,
      ),
    ],
    [
      config.attestation_token.insecure_header_jwk,
      problem(
        'attestation_token.insecure_header_jwk',
        'believes the key inside the token, so anyone can make passports',
        `Name trusted keys, ${development}`,
      ),
    ],
    [
      config.policy.default_policy === 'allow-all',
      problem(
        'policy.default_policy',
        'allow-all releases every secret to any valid passport',
        `Choose another, ${development}`,
      ),
    ],
  ]
  return refused.filter(([broken]) => broken).map(([, found]) => found)
}

const rules: readonly Rule[] = [
  tlsMaterial,
  tlsVersions,
  listenAddresses,
  metricsSockets,
  apiClients,
  adminSections,
  aclExpressions,
  uniquePlugins,
  remoteAttestation,
  remoteReferenceValues,
  intelTrustAuthority,
  passportTrust,
  keySources,
  vendorTrust,
  verifierSettings,
  productionOnly,
]

function isPlainOffLoopback(config: RawConfig): boolean {
  return config.http_server.insecure_http && !isApiOnLoopback(config)
}

function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32))
}
