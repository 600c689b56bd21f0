import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv, type ValidateFunction } from 'ajv'
import { parse as parseYaml } from 'yaml'
import type { Manifest } from './manifest.ts'

/** A schema of OpenAPI or of a CustomResourceDefinition, as far as it is walked here. */
interface Schema {
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: Schema | boolean
  allOf?: Schema[]
  anyOf?: Schema[]
  oneOf?: Schema[]
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[]
}

interface OpenApi {
  components: { schemas: Record<string, Schema> }
}

interface CustomResourceDefinition {
  spec: {
    group: string
    names: { kind: string }
    versions: { name: string; served: boolean; schema: { openAPIV3Schema: Schema } }[]
  }
}

/** Says what is wrong with a manifest: nothing, or where and what. */
export type ManifestCheck = (manifest: Manifest) => readonly string[]

const objectMeta = '#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'

/**
 * Checks manifests as an API server with strict field validation does: every field must be in the schema. Rules in CEL
 * and what only the server's code knows are not checked.
 *
 * @param folder `kubernetes/` with the OpenAPI documents of one version, `custom/` with CustomResourceDefinitions
 */
export function openManifestSchemas(folder: string): ManifestCheck {
  // formats such as int32 say less than types and patterns; keywords of Kubernetes are not known to ajv
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true })
  const validators = new Map<string, ValidateFunction | undefined>()
  const custom = readCustomSchemas(join(folder, 'custom'))

  const open = (apiVersion: string, kind: string): ValidateFunction | undefined => {
    const schema = custom.get(`${apiVersion} ${kind}`)
    if (schema !== undefined) return ajv.compile(schema)
    const file = apiVersion.includes('/') ? `apis/${apiVersion}.json` : `api/${apiVersion}.json`
    const document = readOpenApi(join(folder, 'kubernetes', file))
    const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
    const name = Object.entries(document?.components.schemas ?? {}).find(([, { ...schema }]) =>
      schema['x-kubernetes-group-version-kind']?.some(
        (known) => known.group === group && known.version === version && known.kind === kind,
      ),
    )?.[0]
    if (document === undefined || name === undefined) return undefined
    if (ajv.getSchema(apiVersion) === undefined) ajv.addSchema(document, apiVersion)
    return ajv.compile({ $ref: `${apiVersion}#/components/schemas/${name}` })
  }
  const validatorOf = (apiVersion: string, kind: string) => {
    const key = `${apiVersion} ${kind}`
    if (!validators.has(key)) validators.set(key, open(apiVersion, kind))
    return validators.get(key)
  }
  ajv.addSchema(readOpenApi(join(folder, 'kubernetes', 'api/v1.json')) ?? {}, 'v1')
  const metadata = ajv.compile({ $ref: `v1${objectMeta}` })

  return (manifest) => {
    const validate = validatorOf(manifest.apiVersion, manifest.kind)
    if (validate === undefined) return [`${manifest.apiVersion} ${manifest.kind}: there is no such kind`]
    return [...errorsOf(validate, manifest, ''), ...errorsOf(metadata, manifest.metadata, '/metadata')]
  }
}

function errorsOf(validate: ValidateFunction, value: unknown, at: string): readonly string[] {
  if (validate(value)) return []
  return (validate.errors ?? []).map(({ instancePath, message, params }) => {
    const field: unknown = params.additionalProperty
    return `${at}${instancePath}: ${message}${typeof field === 'string' ? ` (${field})` : ''}`
  })
}

function readOpenApi(path: string): OpenApi | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  const document: OpenApi = JSON.parse(text)
  for (const schema of Object.values(document.components.schemas)) refuseUnknownFields(schema)
  return document
}

function readCustomSchemas(folder: string): ReadonlyMap<string, Schema> {
  const schemas = new Map<string, Schema>()
  for (const file of readdirSync(folder)) {
    const definition: CustomResourceDefinition = parseYaml(readFileSync(join(folder, file), 'utf8'))
    const { group, names, versions } = definition.spec
    for (const { name, served, schema } of versions) {
      if (!served) continue
      refuseUnknownFields(schema.openAPIV3Schema)
      schemas.set(`${group}/${name} ${names.kind}`, schema.openAPIV3Schema)
    }
  }
  return schemas
}

/** What has fields has these fields only, unless the schema says otherwise. */
function refuseUnknownFields(schema: Schema): void {
  const { properties, items, additionalProperties, allOf = [], anyOf = [], oneOf = [] } = schema
  if (properties !== undefined && additionalProperties === undefined)
    schema.additionalProperties = schema['x-kubernetes-preserve-unknown-fields'] === true
  const below = [...Object.values(properties ?? {}), ...allOf, ...anyOf, ...oneOf]
  if (items !== undefined) below.push(items)
  if (typeof additionalProperties === 'object') below.push(additionalProperties)
  for (const each of below) refuseUnknownFields(each)
}
