import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * A stand-in for `az`, `kubectl` and `helm`: it refuses what they would not understand, answers what the guide to Azure Key
 * Vault asks for, and keeps what it is given in the folder `GUIDE_STATE`. Run as `node command.ts az …`.
 */

interface Form {
  readonly required: readonly string[]
  readonly optional?: readonly string[]
  /** Options without a value. */
  readonly switches?: readonly string[]
  /** Words that are no options: at least so many. */
  readonly words?: number
}

const ofCluster = ['name', 'resource-group']

/** Subcommands and options as the reference of each tool has them: those that the guide uses, and what they need. */
const forms: Readonly<Record<string, Form>> = {
  'az account show': { required: [] },
  'az aks enable-addons': { required: [...ofCluster, 'addons'] },
  'az aks addon update': {
    required: [...ofCluster, 'addon'],
    optional: ['rotation-poll-interval'],
    switches: ['enable-secret-rotation'],
  },
  'az aks update': { required: ofCluster, switches: ['enable-oidc-issuer', 'enable-workload-identity'] },
  'az aks show': { required: ofCluster },
  'az identity create': { required: ofCluster, optional: ['location'] },
  'az identity show': { required: ofCluster },
  'az identity federated-credential create': {
    required: [...ofCluster, 'identity-name', 'issuer', 'subject'],
    optional: ['audiences'],
  },
  'az keyvault create': { required: ofCluster, optional: ['location', 'enable-rbac-authorization'] },
  'az keyvault show': { required: ['name'] },
  'az keyvault secret set': {
    required: ['vault-name', 'name', 'file'],
    optional: ['encoding', 'content-type'],
  },
  'az role assignment create': {
    required: ['role', 'scope', 'assignee-object-id', 'assignee-principal-type'],
  },
  'az ad signed-in-user show': { required: [] },
  'kubectl get pods': { required: [], optional: ['namespace', 'selector'] },
  'kubectl rollout status': { required: [], optional: ['namespace'], words: 1 },
  'helm upgrade': { required: ['namespace', 'values'], switches: ['install', 'wait'], words: 2 },
}

/** What the tools answer to `--query`. */
const answers: Readonly<Record<string, string>> = {
  'az account show tenantId': '11111111-2222-4333-8444-555555555555',
  'az aks show oidcIssuerProfile.issuerUrl': 'https://westeurope.oic.prod-aks.azure.com/tenant/cluster/',
  'az identity show clientId': '22222222-2222-4333-8444-555555555555',
  'az identity show principalId': '33333333-2222-4333-8444-555555555555',
  'az ad signed-in-user show id': '44444444-2222-4333-8444-555555555555',
  'az keyvault show id':
    '/subscriptions/s/resourceGroups/kbs-group/providers/Microsoft.KeyVault/vaults/my-vault',
}

const state = process.env.GUIDE_STATE ?? ''
const [tool = '', ...args] = process.argv.slice(2)

function refuse(why: string): never {
  console.error(`${[tool, ...args].join(' ')}: ${why}`)
  process.exit(2)
}

/** `kubectl` has `--namespace` before its subcommand, too. */
function parse(): { command: string; words: readonly string[]; options: Map<string, string[]> } {
  const options = new Map<string, string[]>()
  const words: string[] = []
  for (let i = 0; i < args.length; i++) {
    const word = args[i] ?? ''
    if (!word.startsWith('--')) {
      words.push(word)
      continue
    }
    const name = word.slice(2)
    const next = args[i + 1]
    const isSwitch = Object.values(forms).some(({ switches = [] }) => switches.includes(name))
    if (!isSwitch && (next === undefined || next.startsWith('--') || next === ''))
      refuse(`${word} has no value`)
    options.set(name, [...(options.get(name) ?? []), isSwitch ? '' : (next ?? '')])
    if (!isSwitch) i++
  }
  for (let length = words.length; length > 0; length--) {
    const command = [tool, ...words.slice(0, length)].join(' ')
    if (command in forms) return { command, words: words.slice(length), options }
  }
  refuse('there is no such subcommand')
}

const { command, words, options } = parse()
const form = forms[command] ?? refuse('there is no such subcommand')
const general = tool === 'az' ? ['query', 'output'] : []
const allowed = [...form.required, ...(form.optional ?? []), ...(form.switches ?? []), ...general]
for (const name of options.keys()) if (!allowed.includes(name)) refuse(`there is no option --${name}`)
for (const name of form.required) if (!options.has(name)) refuse(`--${name} is missing`)
if (words.length !== (form.words ?? 0)) refuse(`what is ${words.join(' ')}?`)

const one = (name: string) => options.get(name)?.[0] ?? ''
appendFileSync(
  join(state, 'commands.jsonl'),
  `${JSON.stringify({ command, words, options: Object.fromEntries(options) })}\n`,
)
for (const file of tool === 'helm' ? (options.get('values') ?? []) : [])
  if (!existsSync(file)) refuse(`there is no file ${file}`)
if (command === 'az keyvault secret set') {
  const encoding = one('encoding') || 'utf-8'
  if (!['utf-8', 'base64'].includes(encoding)) refuse(`there is no encoding ${encoding}`)
  const folder = join(state, 'secrets', one('name'))
  mkdirSync(folder, { recursive: true })
  const bytes = readFileSync(one('file'))
  const value = encoding === 'base64' ? bytes.toString('base64') : bytes.toString('utf8')
  const contentType = one('content-type')
  writeFileSync(
    join(folder, `${Date.now()}.json`),
    JSON.stringify({ value, ...(contentType && { contentType }) }),
  )
}
const query = one('query')
if (query !== '') console.log(answers[`${command} ${query}`] ?? refuse(`nothing is called ${query}`))
