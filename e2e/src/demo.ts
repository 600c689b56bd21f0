/**
 * `pnpm demo`: two Trustees on loopback and a guest, from evidence to secret, with refusals. Every line it prints has been
 * checked; it ends with status 1 at the first that is not so.
 */
import { rm } from 'node:fs/promises'
import { showLogs } from './demo/logs.ts'
import { DemoFailure, Narrator } from './demo/narrator.ts'
import type { Trustee } from './demo/organisations.ts'
import { guestEarnsPassport, guestReadsSecret, setUpTrustees } from './demo/passport-flow.ts'
import { verifyRecordedEvidence } from './demo/recorded-evidence.ts'
import {
  refuseByPolicy,
  refuseForeignAudience,
  refuseReplayedNonce,
  refuseTamperedEvidence,
} from './demo/refusals.ts'

const narrator = new Narrator()
const open: Trustee[] = []
const startedAt = performance.now()
try {
  narrator.title('passport-kbs: two Trustees, one guest, one secret')
  const scene = await setUpTrustees(narrator, open)
  await verifyRecordedEvidence(narrator, scene)

  narrator.title('The passport flow')
  const passport = await guestEarnsPassport(narrator, scene)
  await guestReadsSecret(narrator, scene, passport)

  narrator.title('What is refused')
  await refuseTamperedEvidence(narrator, scene)
  await refuseReplayedNonce(narrator, scene)
  await refuseForeignAudience(narrator, scene, passport, open)
  await refuseByPolicy(narrator, scene, passport)

  narrator.title('What is left behind')
  showLogs(narrator, scene, passport)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  narrator.title(`Everything was as said (${seconds} s). Next: docs/passport-mode.md`)
} catch (error) {
  const reason = error instanceof DemoFailure ? `not as said: ${error.message}` : error
  console.error('\nThe demo failed:', reason)
  process.exitCode = 1
} finally {
  for (const trustee of open) {
    await trustee.close()
    await rm(trustee.folder, { recursive: true, force: true })
  }
}
