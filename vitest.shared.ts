import { defineConfig } from 'vitest/config'

/** What every package's tests share. A package needs its own config only where it differs. */
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], testTimeout: 20_000, passWithNoTests: false },
})
