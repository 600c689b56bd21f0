/** `pnpm conformance evidence|rego [DIR...]`: runs case files and exits non-zero when one fails. */
const suites = { evidence: './evidence.ts', rego: './rego.ts' } as const

const [suite, ...folders] = process.argv.slice(2)
if (suite !== 'evidence' && suite !== 'rego') {
  console.error('usage: pnpm conformance evidence|rego [DIR...]')
  process.exit(2)
}
const { run } = (await import(suites[suite])) as { run: (folders: readonly string[]) => Promise<number> }
process.exitCode = await run(folders)
