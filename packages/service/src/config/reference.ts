import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { z } from 'zod'
import { configSchema } from './schema.ts'
import { typeInWords, unwrap } from './schema-walk.ts'
import { foreignKeys } from './tolerated-keys.ts'
import { unavailableChoices } from './unavailable.ts'

/** One table of the reference: a section of the file, or one variant of it. */
interface Section {
  readonly heading: string
  readonly description: string | undefined
  readonly rows: readonly Row[]
}

interface Row {
  readonly key: string
  readonly type: string
  readonly fallback: string
  readonly description: string
}

/** The reference of all keys as Markdown; `docs/configuration.md` holds it. */
export function configurationReference(): string {
  // variants of a section may share a table
  const sections = new Set(sectionsOf(configSchema, '', '').map(sectionText))
  return `${[introduction, ...sections, foreignKeyText(), unavailableText()].join('\n\n')}\n`
}

const introduction = `# Configuration

<!-- Made by \`pnpm docs\` from packages/service/src/config. Do not edit. -->

\`kbs-attest\`, \`kbs-resource\` and \`kbs\` read one file: \`-c\` / \`--config-file <file>\` or env \`KBS_CONFIG_FILE\`; TOML, YAML
or JSON by extension. Keys and defaults are those of Trustee, so a file of Trustee works as far as it asks for what is
[available](#what-of-trustees-configuration-is-not-available); keys marked *ours* are additions.
An unknown key or a wrong value stops the start, with the key and the remedy on stderr and exit status 78.

| Environment | Meaning |
|---|---|
| \`KBS_CONFIG_FILE\` | The file, where the command line names none |
| \`KBS_PROFILE\` | Overrides \`profile\` |
| \`KBS_LOG\`, \`RUST_LOG\` | Log level: \`trace\`, \`debug\`, \`info\`, \`warn\`, \`error\`, \`off\` |
| \`REDIS_URL\` | Overrides \`storage_backend.backends.redis.url\` |
| \`POSTGRES_URL\` | Overrides host, port, user, password and database in \`storage_backend.backends.postgres\` |

## What only the development profile allows

The profile is \`production\` unless the file or \`KBS_PROFILE\` says \`development\`. In production these stop the start:

- \`admin.authorization_mode = "InsecureAllowAll"\` on a socket that is not loopback
- \`attestation_token.insecure_header_jwk = true\`
- \`policy.default_policy = "allow-all"\`
- \`snp_verifier.cert_validity = "ignore"\`, and roots in place of those of AMD, Intel or Hygon
- \`snp_verifier.reject_debug = false\`, \`dcap_verifier.allow_debug = true\`, \`csv_verifier.allow_debug = true\`
- keys from an \`http://\` address; in development, from loopback

A production service also refuses passports that a development one has minted; they are marked.
\`insecure_http\` is allowed in both, for a proxy that ends TLS; off loopback it is warned about.

## What is logged

One JSON line a request on stdout: method, route, plugin, status, duration, sizes, client. The path of a resource is the name
of a secret: it is logged at level \`debug\` only. Queries, headers and bodies, where tokens, cookies and evidence are, are
not logged at any level. Lines with \`"audit": true\` are the audit trail: they name resources and are
written whatever the level is. The request
id of a line is the one that the client saw in \`X-Request-Id\` and in the \`instance\` of an error body.`

function sectionsOf(schema: z.core.$ZodType, path: string, variant: string): readonly Section[] {
  const { definition, description } = unwrap(schema)
  if (definition.type === 'union') {
    const options = (definition.options ?? []).filter(isTable)
    return options.flatMap((option) => sectionsOf(option, path, variantName(option)))
  }
  if (definition.type === 'array')
    return definition.element === undefined ? [] : sectionsOf(definition.element, `${path}[]`, '')
  const members = Object.entries(definition.shape ?? {})
  const here: Section = {
    heading: headingOf(path, variant),
    description,
    rows: members.filter(([, member]) => !isTable(member)).map(([key, member]) => rowOf(key, member)),
  }
  const below = members.filter(([, member]) => isTable(member))
  const nested = below.flatMap(([key, member]) =>
    sectionsOf(member, path === '' ? key : `${path}.${key}`, ''),
  )
  return here.rows.length === 0 ? nested : [here, ...nested]
}

function isTable(schema: z.core.$ZodType): boolean {
  const { definition } = unwrap(schema)
  if (definition.type === 'object') return true
  if (definition.type === 'array') return definition.element !== undefined && isTable(definition.element)
  return definition.type === 'union' && (definition.options ?? []).every(isTable)
}

/** The literals that choose this variant: `type = "KDS"`. */
function variantName(schema: z.core.$ZodType): string {
  return Object.entries(unwrap(schema).definition.shape ?? {})
    .filter(([, member]) => unwrap(member).definition.type === 'literal')
    .map(([key, member]) => `${key} = ${typeInWords(member)}`)
    .join(', ')
}

function headingOf(path: string, variant: string): string {
  const table = path.replaceAll('[]', '')
  const name = path === '' ? 'Top level' : path.endsWith('[]') ? `\`[[${table}]]\`` : `\`[${table}]\``
  return variant === '' ? name : `${name} with \`${variant}\``
}

function rowOf(key: string, schema: z.core.$ZodType): Row {
  const { definition, optional, defaultValue, description } = unwrap(schema)
  const fallback =
    defaultValue === undefined ? (optional ? '' : '*required*') : `\`${JSON.stringify(defaultValue)}\``
  return {
    key,
    type: typeInWords(schema),
    fallback,
    description: description ?? (definition.type === 'literal' ? 'Chooses this variant.' : ''),
  }
}

function sectionText({ heading, description, rows }: Section): string {
  const table = rows.map(
    ({ key, type, fallback, description: text }) =>
      `| \`${key}\` | ${type} | ${fallback} | ${text.replace(/^Ours: (.)/, (_, first: string) => `*Ours.* ${first.toUpperCase()}`)} |`,
  )
  const lead =
    description === undefined
      ? []
      : [description.replace(/^Ours: (.)/, (_, first: string) => first.toUpperCase()), '']
  return [
    `## ${heading}`,
    '',
    ...lead,
    '| Key | Type | Default | Meaning |',
    '|---|---|---|---|',
    ...table,
  ].join('\n')
}

function foreignKeyText(): string {
  const rows = foreignKeys.map(({ path, ignored, refused, harmless }) => {
    const accepted =
      ignored === undefined
        ? ''
        : `ignored with a warning${refused === undefined ? '' : ` when \`${String(harmless)}\``}: ${ignored}`
    return `| \`${path}\` | ${[accepted, refused === undefined ? '' : `refused: ${refused}`].filter(Boolean).join('; ')} |`
  })
  const lead = 'Keys that Trustee knows, or once knew, and that mean nothing here.'
  return [
    '## Keys of Trustee without a meaning here',
    '',
    lead,
    '',
    '| Key | Treatment |',
    '|---|---|',
    ...rows,
  ].join('\n')
}

function unavailableText(): string {
  const rows = unavailableChoices.map(
    ({ path, values, remedy }) =>
      `| \`${path}\` | ${values.map((value) => `\`${value}\``).join(', ')} | ${remedy} |`,
  )
  return [
    '## What of Trustee’s configuration is not available',
    '',
    'These values are refused at start, whatever other keys go with them. A program in which the section has no effect ignores it with a warning.',
    '',
    '| Key | Values | Remedy |',
    '|---|---|---|',
    ...rows,
  ].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(new URL('../../../../docs/configuration.md', import.meta.url), configurationReference())
}
