import type { Context, MiddlewareHandler } from 'hono'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Config } from '../config/config.ts'
import type { ServiceEnv } from '../http/service-env.ts'

/** A count without labels. */
export interface Count {
  inc(): void
}

/**
 * The metrics of spec 01 §8, under Trustee's names, and `kbs_attestation_unavailable_total`. Two differ in content: response sizes go into their own histogram
 * instead of that of the requests, and the label `resource_path` is `*` unless the configuration asks for names, since
 * these are names of secrets that any attested client can invent; distinct names are bounded.
 */
export interface Metrics {
  readonly authRequests: Count
  readonly authSuccesses: Count
  readonly authErrors: Count
  readonly attestationRequests: Count
  readonly attestationErrors: Count
  /** @param tee one of the protocol's TEE names, never what a client sent */
  attestationSucceeded(tee: string): void
  attestationFailed(tee: string): void
  /** No verdict: what is needed for one does not answer. */
  attestationUnavailable(tee: string): void
  readonly policyEvaluations: Count
  readonly policyApprovals: Count
  readonly policyViolations: Count
  readonly policyErrors: Count
  /** Before the back end is asked. @param path `repo/type/tag` */
  resourceRead(path: string): void
  resourceWritten(path: string): void
  resourceDeleted(path: string): void
  /** @param name of a configured back end */
  pluginCalled(name: string, seconds: number, failed: boolean): void
  /** Counts requests below `/kbs`. `createServiceApp` installs it. */
  readonly middleware: MiddlewareHandler<ServiceEnv>
  /** `GET /metrics`; 404 when switched off. */
  readonly handler: (c: Context) => Promise<Response>
  readonly registry: Registry
}

const sizeBuckets = [32, 128, 512, 2048, 8192]

export function createMetrics(options: {
  readonly config: Config['metrics']
  readonly version: string
  readonly gitHash?: string
  readonly buildDate?: string
}): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = (name: string, help: string) => new Counter({ name, help, registers })
  const labelled = <L extends string>(name: string, help: string, label: L) =>
    new Counter<L>({ name, help, labelNames: [label], registers })

  new Gauge({
    name: 'kbs_build_info',
    help: 'What is running',
    labelNames: ['version', 'git_hash', 'build_date'],
    registers,
  }).set(
    {
      version: options.version,
      git_hash: options.gitHash ?? 'unknown',
      build_date: options.buildDate ?? 'unknown',
    },
    1,
  )
  const attestationSuccesses = labelled('kbs_attestation_successes_total', 'Tokens issued', 'tee_type')
  const attestationFailures = labelled('kbs_attestation_failures_total', 'Evidence refused', 'tee_type')
  const attestationOutages = labelled(
    'kbs_attestation_unavailable_total',
    'Evidence that could not be verified: a store, a service or a source of certificates or collateral did not answer',
    'tee_type',
  )
  const reads = labelled('kbs_resource_reads_total', 'Reads of resources', 'resource_path')
  const writes = labelled('kbs_resource_writes_total', 'Writes of resources', 'resource_path')
  const deletes = labelled('kbs_resource_deletes_total', 'Deletions of resources', 'resource_path')
  const pluginRequests = labelled('kbs_plugin_requests_total', 'Calls of external plugins', 'plugin_name')
  const pluginErrors = labelled('kbs_plugin_errors_total', 'Failed calls of external plugins', 'plugin_name')
  const pluginDuration = new Histogram({
    name: 'kbs_plugin_request_duration_seconds',
    help: 'Duration of calls of external plugins',
    labelNames: ['plugin_name'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1],
    registers,
  })
  const resourceLabel = boundedLabel(options.config)

  return {
    registry,
    authRequests: counter('kbs_auth_requests_total', 'Requests to /auth'),
    authSuccesses: counter('kbs_auth_successes_total', 'Sessions made'),
    authErrors: counter('kbs_auth_errors_total', 'Failed requests to /auth'),
    attestationRequests: counter('kbs_attestation_requests_total', 'Requests to /attest'),
    attestationErrors: counter(
      'kbs_attestation_errors_total',
      'Requests to /attest that never reached a verifier',
    ),
    attestationSucceeded: (tee) => attestationSuccesses.inc({ tee_type: tee }),
    attestationFailed: (tee) => attestationFailures.inc({ tee_type: tee }),
    attestationUnavailable: (tee) => attestationOutages.inc({ tee_type: tee }),
    policyEvaluations: counter('kbs_policy_evaluations_total', 'Evaluations of the resource policy'),
    policyApprovals: counter('kbs_policy_approvals_total', 'Requests that the policy allowed'),
    policyViolations: counter('kbs_policy_violations_total', 'Requests that the policy denied'),
    policyErrors: counter('kbs_policy_errors_total', 'Evaluations that failed'),
    resourceRead: (path) => reads.inc({ resource_path: resourceLabel(path) }),
    resourceWritten: (path) => writes.inc({ resource_path: resourceLabel(path) }),
    resourceDeleted: (path) => deletes.inc({ resource_path: resourceLabel(path) }),
    pluginCalled(name, seconds, failed) {
      pluginRequests.inc({ plugin_name: name })
      pluginDuration.observe({ plugin_name: name }, seconds)
      if (failed) pluginErrors.inc({ plugin_name: name })
    },
    middleware: httpMetrics(registers),
    async handler(c) {
      if (!options.config.enabled) return c.notFound()
      return c.body(await registry.metrics(), 200, { 'content-type': registry.contentType })
    },
  }
}

function httpMetrics(registers: Registry[]): MiddlewareHandler<ServiceEnv> {
  const requests = new Counter({ name: 'kbs_http_requests_total', help: 'Requests', registers })
  const active = new Gauge({ name: 'kbs_http_active_connections', help: 'Requests in work', registers })
  const duration = new Histogram({
    name: 'kbs_http_request_duration_seconds',
    help: 'Duration of requests',
    buckets: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.5, 1],
    registers,
  })
  const requestSize = new Histogram({
    name: 'kbs_http_request_size_bytes',
    help: 'Content-Length of requests, 0 if absent',
    buckets: sizeBuckets,
    registers,
  })
  const responseSize = new Histogram({
    name: 'kbs_http_response_size_bytes',
    help: 'Size of answers, head included',
    buckets: sizeBuckets,
    registers,
  })
  const answers = new Counter({
    name: 'kbs_http_responses_total',
    help: 'Answers, by class of status',
    labelNames: ['status_class'],
    registers,
  })
  return async (c, next) => {
    requests.inc()
    active.inc()
    whenAnswered(c, (bytes) => responseSize.observe(bytes))
    const stop = duration.startTimer()
    requestSize.observe(Number(c.req.header('content-length') ?? 0) || 0)
    try {
      await next()
    } finally {
      active.dec()
      stop()
    }
    answers.inc({ status_class: `${Math.floor(c.res.status / 100)}xx` })
  }
}

/** Calls back with the bytes written for this answer, head included, once the last has been handed to the socket. */
function whenAnswered(c: Context<ServiceEnv>, observe: (bytes: number) => void): void {
  const { incoming, outgoing } = c.env ?? {}
  if (incoming === undefined || outgoing === undefined) return
  const before = incoming.socket.bytesWritten
  outgoing.once('finish', () => observe(incoming.socket.bytesWritten - before))
}

function boundedLabel(config: Config['metrics']): (path: string) => string {
  if (!config.resourcePaths) return () => '*'
  const known = new Set<string>()
  return (path) => {
    if (known.size < config.maxResourcePaths) known.add(path)
    return known.has(path) ? path : 'other'
  }
}
