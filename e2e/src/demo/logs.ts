import type { Passport } from '@passport-kbs/guest-client'
import type { Narrator } from './narrator.ts'
import type { Scene } from './passport-flow.ts'

/** What the services wrote at the most talkative level: decisions, and nothing that could be used. */
export function showLogs(
  narrator: Narrator,
  { trustee1, trustee2, secret }: Scene,
  { token }: Passport,
): void {
  narrator.step('Every decision is on the audit trail')
  for (const line of auditLines(trustee1.log()).slice(-3)) narrator.note(`KBS1  ${line}`)
  for (const line of auditLines(trustee2.log()).slice(-3)) narrator.note(`KBS2  ${line}`)

  narrator.step('The logs, at level trace, hold nothing that could be used')
  const logs = trustee1.log() + trustee2.log()
  const [, payload = token, signature = token] = token.split('.')
  narrator.check(![payload, signature].some((part) => logs.includes(part)), 'no passport')
  const encodings = ['hex', 'base64', 'base64url'] as const
  narrator.check(
    !encodings.some((encoding) => logs.includes(Buffer.from(secret).toString(encoding))),
    'no secret',
  )
  narrator.check(!/kbs-session-id=[0-9a-f]/.test(logs), 'no session cookie')
}

function auditLines(log: string): string[] {
  return log
    .split('\n')
    .filter((line) => line.includes('"audit":true'))
    .map((line) => {
      const { event, decision, reason, tee, resourcePath } = JSON.parse(line) as Record<
        string,
        string | undefined
      >
      return [`${event} ${decision}`, tee, resourcePath, reason && `(${reason})`].filter(Boolean).join('  ')
    })
}
