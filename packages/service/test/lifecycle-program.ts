import { createHttpServer, createLogger, createServiceApp, runUntilSignal } from '../src/index.ts'
import { httpServerConfig } from './fixtures.ts'

/** A service as small as can be, for the test of its end: it answers slowly, and says where it listens. */
const httpServer = httpServerConfig()
const logger = createLogger({ program: 'lifecycle', env: {}, destination: { write: () => {} } })
const app = createServiceApp({ httpServer, logger })
app.get('/slow', async (c) => {
  process.stdout.write('asked\n')
  await new Promise((resolve) => setTimeout(resolve, 400))
  return c.text('finished')
})
const server = await createHttpServer({ app, httpServer, logger })
// a handle that nobody closes must not keep the process
setInterval(() => {}, 60_000)
process.stdout.write(`${server.urls[0]}\n`)
await runUntilSignal(server, {
  logger,
  graceMs: Number(process.argv[2]),
  onClose: () => void process.stdout.write('closed\n'),
})
