import { defineConfig } from 'vitest/config'

/** What every package's tests share. A package needs its own config only where it differs. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: [new URL('./vitest.temporary-folder.ts', import.meta.url).pathname],
    // for a busy machine: what a test promises about time it says itself
    testTimeout: 60_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
})
