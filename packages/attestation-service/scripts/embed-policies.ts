/**
 * Writes the texts of `policies/*.rego` into a module: bundles and development then read them in the same way, and a
 * program needs no file beside its bundle. Run after every change of a policy; a test compares the two.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const folder = new URL('../policies/', import.meta.url)
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.rego'))
  .sort()
const entries = names.map((name) => {
  const text = readFileSync(new URL(name, folder), 'utf8')
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')
  return `  ${name.replace(/\.rego$/, '')}: \`${escaped}\`,\n`
})

writeFileSync(
  new URL('../src/default-policy-texts.ts', import.meta.url),
  `/** Made from \`policies/*.rego\` by \`scripts/embed-policies.ts\`; change the policies, not this file. */
export const defaultPolicyTexts = {
${entries.join('')}} as const
`,
)
