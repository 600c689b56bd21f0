import { runService } from '@passport-kbs/service'
import { attestationService } from './service.ts'

await runService({ ...attestationService, argv: process.argv.slice(2), env: process.env })
