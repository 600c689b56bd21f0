import { runService } from '@passport-kbs/service'
import { kbs } from './service.ts'

await runService({ ...kbs, argv: process.argv.slice(2), env: process.env })
