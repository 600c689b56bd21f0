/** `node docker/bundle.ts` in the folder of an app: one file, `dist/main.js`, that needs Node and nothing else. */
import { join } from 'node:path'
import { build } from 'esbuild'

/** Libraries in CommonJS ask for `require`, which a bundle in ECMAScript modules does not have by itself. */
const banner =
  "import{createRequire as bundleRequire}from'node:module';const require=bundleRequire(import.meta.url);"

/** @param app folder of the app. */
export async function bundle(app: string, outfile: string): Promise<void> {
  await build({
    entryPoints: [join(app, 'src/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    sourcemap: true,
    banner: { js: banner },
    logLevel: 'warning',
  })
}

if (import.meta.main) await bundle(process.cwd(), join(process.cwd(), 'dist/main.js'))
