import { writeFileSync } from 'node:fs'
import { attestationBackEnds } from './attestation-back-ends.ts'
import { type Expectation, type Expectations, type Fault, faults } from './faults.ts'
import { secretServers } from './secret-servers.ts'
import { secretStores } from './secret-stores.ts'

/** What is seen of a back end that fails, as a page: made from what the tests expect. */
export const tablePage = new URL('../../../docs/back-end-failures.md', import.meta.url).pathname

interface Row {
  readonly name: string
  readonly expectations: Expectations
}

/** The page's text. */
export function tableText(): string {
  return `# When a back end fails

<!-- Made by \`node e2e/src/back-ends/table.ts\` from what e2e/test/back-end-failures.test.ts expects. Do not edit. -->

Each cell is tried on a running program: a guest gets its secret; then the back end fails in this way; a guest asks
again; then the fault ends, and the guest has its secret without anybody's help. The guest is told nothing of the cause. The
log has it, in a line of the request id that the answer names (\`instance\`). Redirects are followed nowhere, and no
credential is in a log.

- **503**: \`ServiceUnavailable\` with \`Retry-After\`. Guests may ask again.
- **503** and a code: as 503. Evidence cannot be verified now; \`reason\` has the code of the check that cannot be made.
- **401** and a code: \`AttestationError\`. The source was asked and has nothing for the chip, or none is configured.
- **write 503**: guests read on; an administrator's write is 503.
- **not ready**: \`/readyz\` is 503 meanwhile. Elsewhere it is 200, for no other replica would do better; where a place of secrets is down its status is \`degraded\`.
- **–**: cannot be; see below.

## Who verifies evidence, or vouches for it

${tableOf(attestationBackEnds)}

${reasonsOf(attestationBackEnds)}

## Where secrets are

${tableOf([...secretServers, ...secretStores])}

${reasonsOf([...secretServers, ...secretStores])}
`
}

function tableOf(rows: readonly Row[]): string {
  const lines = faults.map((fault) => [
    words[fault],
    ...rows.map(({ expectations }) => cellOf(expectations[fault])),
  ])
  const head = ['', ...rows.map(({ name }) => name)]
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function cellOf(expected: Expectation | string): string {
  if (typeof expected === 'string') return '–'
  const { status = 503, reason, ready, on } = expected
  const code = /[A-Z_]{6,}/.exec(reason?.source ?? '')?.[0]
  const answer = `${on === 'write' ? 'write ' : ''}${status}${code === undefined ? '' : ` \`${code}\``}`
  return ready === 200 ? answer : `${answer}, not ready`
}

/** One line for each reason, with the faults that it excludes. */
function reasonsOf(rows: readonly Row[]): string {
  return rows
    .map(({ name, expectations }) => {
      const excluded = new Map<string, Fault[]>()
      for (const fault of faults) {
        const reason = expectations[fault]
        if (typeof reason === 'string') excluded.set(reason, [...(excluded.get(reason) ?? []), fault])
      }
      const texts = [...excluded].map(([reason, which]) => `${which.join(', ')}: ${reason}`)
      return `- ${name}. ${texts.join('; ')}.`
    })
    .join('\n')
}

const words: Readonly<Record<Fault, string>> = {
  down: 'down: connections are refused, or the folder is gone',
  slow: 'slow: takes requests and does not answer in time',
  trickling: 'trickling: answers a byte now and then',
  'unknown CA': 'certificate of an unknown CA',
  'wrong name': 'certificate of another name',
  'expired certificate': 'expired certificate',
  'expired credential': 'expired credential',
  quota: 'quota is used up (429, `RESOURCE_EXHAUSTED`, connections, memory)',
  'quota with Retry-After': 'quota, with `Retry-After`',
  'no format': 'an answer that is not in its format',
  'wrong shape': 'an answer of another shape',
  'huge answer': 'a huge answer',
  'truncated answer': 'an answer that breaks off',
  'web page': 'a web page instead',
  redirect: 'a redirect to elsewhere',
  'read-only': 'read-only',
  'full disk': 'full disk',
  corrupt: 'corrupt',
  'no permission': 'no permission for the file',
}

if (import.meta.main) writeFileSync(tablePage, tableText())
