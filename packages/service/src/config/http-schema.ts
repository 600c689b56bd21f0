import { z } from 'zod'
import { count, filePath, milliseconds, sockets } from './schema-values.ts'

const rateLimit = (perSecond: number, burst: number) =>
  z
    .strictObject({
      per_second: z
        .number()
        .min(0)
        .max(1_000_000)
        .default(perSecond)
        .describe('Requests a second that one client may sustain; 0 switches the limit off.'),
      burst: count(1, 10_000_000).default(burst).describe('Requests that one client may send at once.'),
    })
    .prefault({})

export const httpServerSchema = z.strictObject({
  sockets: sockets().default(['127.0.0.1:8080']).describe('Addresses to listen on, each `ip:port`.'),
  insecure_http: z
    .boolean()
    .default(false)
    .describe('Plain HTTP. For loopback, or behind a proxy that ends TLS.'),
  private_key: filePath()
    .optional()
    .describe('PEM file with the TLS private key. Required unless `insecure_http`.'),
  certificate: filePath()
    .optional()
    .describe('PEM file with the TLS certificate chain, leaf first. Required unless `insecure_http`.'),
  payload_request_size: z
    .number()
    .positive()
    .max(64)
    .default(2)
    .describe('Largest request body, in MiB (1 MiB = 1048576 bytes).'),
  worker_count: count(1, 256)
    .optional()
    .describe(
      'Accepted for Trustee’s sake: a process serves with one worker. Run replicas to use more processors.',
    ),
  tls_profile: z
    .enum(['old', 'intermediate', 'modern', 'custom'])
    .default('intermediate')
    .describe('TLS versions and ciphers: `modern` is TLS 1.3 only, the others TLS 1.2 and 1.3.'),
  tls_min_version: z
    .enum(['1.2', '1.3'])
    .optional()
    .describe('Overrides the lowest TLS version of the profile.'),
  tls_max_version: z
    .enum(['1.2', '1.3'])
    .optional()
    .describe('Overrides the highest TLS version of the profile.'),
  tls_ciphers: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe(
      'Overrides the ciphers of the profile (OpenSSL list; names of TLS 1.3 suites may be included).',
    ),
  tls_groups: z
    .union([z.string().min(1).max(1024), z.array(z.string().min(1).max(64)).min(1).max(32)])
    .optional()
    .describe(
      'Key-exchange groups, best first. Default: the ML-KEM hybrids that OpenSSL has, then X25519, P-256 and P-384.',
    ),
  public_url: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .optional()
    .describe(
      'Ours: address at which relying parties reach this server, where a proxy ends TLS; the OpenID discovery names it.',
    ),
  max_header_bytes: count(131_072, 1_048_576)
    .default(131_072)
    .describe('Ours: largest request head, in bytes. Passports with device evidence need 128 KiB.'),
  header_timeout_ms: milliseconds(100, 300_000)
    .default(10_000)
    .describe('Ours: time in which a client must have sent the whole request head.'),
  request_timeout_ms: milliseconds(100, 600_000)
    .default(30_000)
    .describe('Ours: time in which a client must have sent the whole request, body included.'),
  keep_alive_timeout_ms: milliseconds(100, 600_000)
    .default(5_000)
    .describe('Ours: idle time after which a kept connection is closed.'),
  max_connections: count(1, 1_000_000)
    .default(10_000)
    .describe('Ours: connections open at once, per socket.'),
  max_connections_per_client: count(1, 1_000_000)
    .default(1_000)
    .describe('Ours: connections open at once from one address.'),
  max_concurrent_requests: count(1, 1_000_000)
    .default(1_000)
    .describe('Ours: requests in work at once; beyond that the answer is 503 with `Retry-After`.'),
  drain_timeout_ms: milliseconds(0, 600_000)
    .default(20_000)
    .describe('Ours: time that requests in work get to finish when the process is told to stop.'),
  trusted_proxies: z
    .array(z.string().min(1).max(64))
    .max(256)
    .default([])
    .describe('Ours: addresses or networks (CIDR) whose `X-Forwarded-For` and `X-Request-Id` are believed.'),
  rate_limits: z
    .strictObject({
      auth: rateLimit(100, 500).describe('Ours: `/auth`, which anyone may call.'),
      attest: rateLimit(100, 500).describe('Ours: `/attest`.'),
      resource: rateLimit(0, 1_000).describe('Ours: resources and other plugins.'),
      admin: rateLimit(20, 100).describe('Ours: everything that needs an administrator.'),
      max_clients: count(16, 10_000_000)
        .default(50_000)
        .describe('Ours: clients remembered at once, which bounds the memory of the limiter.'),
    })
    .prefault({})
    .describe('Ours: requests per client address.'),
})
