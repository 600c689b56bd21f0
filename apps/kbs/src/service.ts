import { openAttestDeps, sessionPassport } from '@passport-kbs/app-kbs-attest'
import { openResourceDeps } from '@passport-kbs/app-kbs-resource'
import type { ServiceOptions } from '@passport-kbs/service'
import pkg from '../package.json' with { type: 'json' }
import { createApp } from './app.ts'

/** Both halves as one program. */
export const kbs: Pick<ServiceOptions, 'program' | 'version' | 'open'> = {
  program: 'kbs',
  version: pkg.version,
  async open(config, shared) {
    const attest = await openAttestDeps(config, shared)
    const resource = await openResourceDeps(config, shared, {
      ownKeys: attest.deps.attestation,
      sessionPassport: sessionPassport(attest.deps.sessions),
    })
    const halves = { attest: attest.deps, resource: resource.deps }
    return {
      app: (isDraining, operation) =>
        createApp(halves, { httpServer: config.httpServer, isDraining, operation }),
      close: async () => {
        await Promise.all([attest.close(), resource.close()])
      },
    }
  },
}
