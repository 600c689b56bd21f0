/** `pnpm bench policy|verify`: measures and prints a report; never a test. */
const benches = { policy: './policy.ts', verify: './verify.ts' } as const

const [bench, ...options] = process.argv.slice(2)
if (bench !== 'policy' && bench !== 'verify') {
  console.error('usage: pnpm bench policy|verify')
  process.exit(2)
}
const { run } = (await import(benches[bench])) as { run: (options: readonly string[]) => Promise<void> }
await run(options)
