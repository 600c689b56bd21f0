import type { ServiceOptions } from '@passport-kbs/service'
import pkg from '../package.json' with { type: 'json' }
import { createApp } from './app.ts'
import { openAttestDeps } from './open-deps.ts'

/** KBS1 as a program. */
export const kbsAttest: Pick<ServiceOptions, 'program' | 'version' | 'open'> = {
  program: 'kbs-attest',
  version: pkg.version,
  async open(config, shared) {
    const { deps, close } = await openAttestDeps(config, shared)
    return {
      app: (isDraining, operation) =>
        createApp(deps, { httpServer: config.httpServer, isDraining, operation }),
      close,
    }
  },
}
