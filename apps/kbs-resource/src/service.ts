import type { ServiceOptions } from '@passport-kbs/service'
import pkg from '../package.json' with { type: 'json' }
import { createApp } from './app.ts'
import { openResourceDeps } from './open-deps.ts'

/** KBS2 as a program. */
export const kbsResource: Pick<ServiceOptions, 'program' | 'version' | 'open'> = {
  program: 'kbs-resource',
  version: pkg.version,
  async open(config, shared) {
    const { deps, close } = await openResourceDeps(config, shared)
    return {
      app: (isDraining, operation) =>
        createApp(deps, { httpServer: config.httpServer, isDraining, operation }),
      close,
    }
  },
}
