import { runService } from '@passport-kbs/service'
import { kbsAttest } from './service.ts'

await runService({ ...kbsAttest, argv: process.argv.slice(2), env: process.env })
