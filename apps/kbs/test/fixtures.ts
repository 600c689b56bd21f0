import { openAttestDeps, sessionPassport } from '@passport-kbs/app-kbs-attest'
import { openResourceDeps } from '@passport-kbs/app-kbs-resource'
import {
  type AuditRecord,
  createAdminGuard,
  createAudit,
  createLogger,
  createMetrics,
  parseConfig,
  type SharedDeps,
} from '@passport-kbs/service'
import { onTestFinished } from 'vitest'
import { listen, type Sent, send } from '../../kbs-attest/test/listener.ts'
import { createApp, type Halves } from '../src/app.ts'

/** Appraises every sample guest as affirming, whatever the shipped policies say. */
export const affirmingAttestation = `package policy

default executables := 33

executables := 3 if input.sample

trust_claims := {"executables": executables}
`

/** Allows guests whose CPU is affirming. */
const affirmingOnly = `package policy

allow if input.submods.cpu0["ear.status"] == "affirming"
`

export const secret = 'the secret of a/b/c'

/** Both halves behind a real listener, opened from a configuration as `main.ts` does, with the secret `a/b/c`. */
export async function serve(change: (halves: Halves) => Halves = (halves) => halves) {
  const document = {
    http_server: { insecure_http: true, sockets: ['127.0.0.1:0'] },
    admin: { authorization_mode: 'InsecureAllowAll' },
    plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
  }
  const config = parseConfig('kbs', document, { KBS_PROFILE: 'development' })
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ program: 'test', env: {}, level: 'debug', destination })
  const shared: SharedDeps = {
    logger,
    admin: await createAdminGuard(config.admin, { logger, profile: config.profile }),
    audit: createAudit(logger),
    metrics: createMetrics({ config: config.metrics, version: '0' }),
  }
  const attest = await openAttestDeps(config, shared)
  const resource = await openResourceDeps(config, shared, {
    ownKeys: attest.deps.attestation,
    sessionPassport: sessionPassport(attest.deps.sessions),
  })
  onTestFinished(async () => {
    await attest.close()
    await resource.close()
  })
  await attest.deps.attestation.setPolicy('default_cpu', affirmingAttestation)
  await resource.deps.policy.set(affirmingOnly)
  await resource.deps.secrets?.write('a/b/c', Buffer.from(secret))
  const halves = change({ attest: attest.deps, resource: resource.deps })
  const app = createApp(halves, { httpServer: config.httpServer })
  const { url } = await listen({ app, httpServer: config.httpServer, logger })
  const parsed = () => lines.map((line) => JSON.parse(line) as AuditRecord & { audit?: boolean })
  return {
    url,
    halves,
    audits: () => parsed().filter(({ audit }) => audit === true),
    log: () => lines.join(''),
    ask: (target: string, sent?: Sent) => send(url, target, sent),
  }
}
