/** The policy engine: any text through the compiler, and programs, written or generated, through the evaluator. */
import {
  compilePolicy,
  fromJs,
  PolicyCompileError,
  PolicyError,
  parseJson,
  presets,
  QUERY_REFERENCE_VALUE,
  type Value,
} from '@passport-kbs/policy'
import { parseAllDocuments } from 'yaml'
import type { FuzzTarget } from '../target.ts'
import { generatedMark, generateProgram } from './rego-program.ts'
import { vectorSeeds } from './seeds.ts'

const externals = [QUERY_REFERENCE_VALUE]
const separator = '\n---\n'

const programs = [
  ...Object.values(presets),
  `package policy
import rego.v1
default allow := false
allow if { some x in input.list; x.n > 1; not denied[x.id] }
denied contains id if { some i; id := input.deny[i] }
f(x, y) := z if { z := x + y } else := 0
total := sum([v | some v in input.numbers])
by_name := {k: v | some k, v in input.map}
every_small if every n in input.numbers { n < 100 }
text := sprintf("%s:%d:%v", ["a", 1, {"b"}])
p := f(1, 2) with input as {"numbers": [1, 2.5, -3e2]}
q[x].y := z if { x := ["a", "b"][_]; z := upper(x) }
r := regex.match(\`^a+b$\`, input.text)
`,
  `package policy
import future.keywords
allow { input.a == data.b; re_match("x*", input.c) }
deny[msg] { msg := concat("/", split(input.path, "/")) }
g = {x | x := numbers.range(1, 5)[_]} | {7} & {1, 7} - {3}
h := object.get(input, ["a", "b"], json.unmarshal("[1]"))
i := walk(input, [["a"], 1])
j := time.parse_rfc3339_ns("2024-01-01T00:00:00Z")
`,
]

const inputs = [
  '{"list":[{"n":2,"id":"a"}],"deny":["b"],"numbers":[1,2.5,-300],"map":{"a":null},"text":"aab","path":"/a/b","a":{"b":1}}',
  '{"submods":{"cpu0":{"ear.status":"affirming","ear.veraison.annotated-evidence":{"snp":{"measurement":"00"}}}}}',
]

/** Modules of the suites of the vectors. */
function suiteModules(): string[] {
  const json = vectorSeeds('rego', /\.json$/, 4 << 20).map((bytes) => JSON.parse(bytes.toString()))
  const yaml = vectorSeeds('rego', /\.yaml$/).flatMap((bytes) =>
    parseAllDocuments(bytes.toString(), { logLevel: 'silent', uniqueKeys: false }).map((document) =>
      document.toJS(),
    ),
  )
  return [...new Set([...json, ...yaml].flatMap(modulesIn))]
}

function modulesIn(value: unknown): string[] {
  if (typeof value === 'string') return /^\s*package /.test(value) && value.length < 2000 ? [value] : []
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(modulesIn) : []
}

export const regoParser: FuzzTarget = {
  name: 'rego-parser',
  rejections: [PolicyCompileError],
  maxLength: 16 * 1024,
  words: [
    'contains',
    'if',
    'else',
    'every',
    'some',
    'in',
    'with',
    'as',
    'not',
    'default',
    'import',
    ':=',
    '|',
    '==',
    '[_]',
    '`',
    '"',
  ],
  seeds: () => [...programs, ...suiteModules()].map((text) => Buffer.from(text)),
  run(input) {
    const text = Buffer.from(input).toString()
    const v0 = input.length % 2 === 0
    compilePolicy([{ file: 'policy.rego', text }], { dialect: v0 ? 'v0' : 'v1', externals })
  },
}

/** What an evaluation may use here: so little that 50 ms suffice, so much that loops are reached. */
const limits = { steps: 10_000, totalBytes: 4 << 20, stringLength: 256 << 10, collectionSize: 20_000 }

export const regoEval: FuzzTarget = {
  name: 'rego-eval',
  rejections: [PolicyError],
  maxLength: 16 * 1024,
  words: regoParser.words ?? [],
  seeds: () => [
    ...programs.flatMap((program) => inputs.map((input) => Buffer.from(`${program}${separator}${input}`))),
    ...suiteModules().map((module) => Buffer.from(`${module}${separator}${inputs[0]}`)),
    ...Array.from({ length: 64 }, (_, seed) => Buffer.from([generatedMark, ...choices(seed)])),
  ],
  run(input) {
    const { text, document } = programOf(input)
    const dialect = input.length % 2 === 0 ? 'v1' : 'v0'
    const policy = compilePolicy([{ file: 'policy.rego', text }], {
      dialect,
      externals,
      strictBuiltinErrors: input.length % 3 !== 0,
    })
    evaluateAll(policy, document)
  },
}

function choices(seed: number): number[] {
  return Array.from(
    { length: 256 },
    (_, index) => (Math.imul(seed * 256 + index + 1, 0x9e3779b1) >>> 13) & 0xff,
  )
}

function programOf(input: Uint8Array): { text: string; document: Value } {
  if (input[0] === generatedMark) {
    const { text, document } = generateProgram(input.subarray(1))
    return { text, document: fromJs(document) }
  }
  const [text = '', json = '{}'] = Buffer.from(input).toString().split(separator)
  return { text, document: parseJson(json) }
}

function evaluateAll(policy: ReturnType<typeof compilePolicy>, input: Value): void {
  const data = fromJs({ plugin: 'resource', b: 1 })
  const request = {
    input,
    data,
    now: 1_768_478_400_000_000_000n,
    randomBytes: (n: number) => new Uint8Array(n),
    limits,
  }
  // all together, and if that fails each for itself
  try {
    policy.evaluate({ ...request, rules: policy.rulePaths })
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    policy.evaluate({ ...request, rules: policy.rulePaths.slice(0, 1) })
  }
}
