import { runService } from '@passport-kbs/service'
import { kbsResource } from './service.ts'

await runService({ ...kbsResource, argv: process.argv.slice(2), env: process.env })
