/** `node docker/bundle.ts` in the folder of an app: one file, `dist/main.js`, that needs Node and nothing else; and what it is made of. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { sbomOf } from './sbom.ts'

/** Libraries in CommonJS ask for `require`, which a bundle in ECMAScript modules does not have by itself. */
const banner =
  "import{createRequire as bundleRequire}from'node:module';const require=bundleRequire(import.meta.url);"

/**
 * Writes `main.js` and, beside it, its software bill of materials, `sbom.cdx.json`.
 *
 * @param app folder of the app.
 */
export async function bundle(app: string, outfile: string): Promise<void> {
  const { metafile } = await build({
    entryPoints: [join(app, 'src/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    sourcemap: true,
    metafile: true,
    absWorkingDir: app,
    banner: { js: banner },
    logLevel: 'warning',
  })
  await mkdir(dirname(outfile), { recursive: true })
  await writeFile(join(dirname(outfile), 'sbom.cdx.json'), await sbomOf(metafile, app))
}

if (import.meta.main) await bundle(process.cwd(), join(process.cwd(), 'dist/main.js'))
