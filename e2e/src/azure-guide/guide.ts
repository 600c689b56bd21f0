import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { guideFences } from '../kubernetes/guide.ts'

const root = new URL('../../..', import.meta.url).pathname
export const azureGuide = join(root, 'docs/azure-key-vault.md')

/** A step of the page. */
export interface Step {
  readonly number: number
  readonly title: string
  /** Its shell blocks, in order. */
  readonly shell: readonly string[]
  /** Its first block of this language. @throws Error where there is none */
  block(language: string): string
}

/** @throws Error unless steps are numbered from 1 without a gap */
export function readSteps(page = readFileSync(azureGuide, 'utf8')): readonly Step[] {
  const [, ...sections] = page.split(/^## Step /m)
  return sections.map((section, index) => {
    const [, number = '', title = ''] = /^(\d+): (.*)$/m.exec(section) ?? []
    if (Number(number) !== index + 1) throw new Error(`step ${index + 1} is called ${number}`)
    const fences = guideFences(section)
    return {
      number: Number(number),
      title,
      shell: fences.filter(({ language }) => language === 'sh').map(({ text }) => text),
      block(language) {
        const found = fences.find((fence) => fence.language === language)
        if (found === undefined) throw new Error(`step ${number} has no block of ${language}`)
        return found.text
      },
    }
  })
}

/** A version of a secret, as `az keyvault secret set` has put it into the vault. */
export interface SetSecret {
  readonly id: string
  readonly value: string
  readonly contentType?: string
}

/** What the stand-ins for az, kubectl and helm were called with. */
export interface GuideCommand {
  readonly command: string
  readonly words: readonly string[]
  readonly options: Readonly<Record<string, readonly string[]>>
}

/** The shell and folder of somebody who follows the page. */
export class Operator {
  readonly folder: string
  readonly #state: string
  readonly #bin: string

  constructor(folder: string) {
    this.folder = folder
    this.#state = join(folder, '.state')
    this.#bin = join(folder, '.bin')
    for (const made of [this.#state, this.#bin]) mkdirSync(made, { recursive: true })
    writeFileSync(join(this.#state, 'variables'), '')
    writeFileSync(join(this.#state, 'commands.jsonl'), '')
    const node = `exec '${process.execPath}' --disable-warning=ExperimentalWarning`
    for (const tool of ['az', 'kubectl', 'helm'])
      this.#program(tool, `${node} '${join(import.meta.dirname, 'command.ts')}' ${tool} "$@"`)
    this.#program('kbsctl', `${node} '${join(root, 'apps/kbsctl/src/main.ts')}' "$@"`)
  }

  /** Runs blocks in one shell, which stops at the first failure and at variables that no step has set. */
  run(blocks: readonly string[]): SpawnSyncReturns<string> {
    const variables = join(this.#state, 'variables')
    const script = `set -euo pipefail
. '${variables}'
${blocks.join('\n')}
set +u
declare -p GROUP LOCATION CLUSTER VAULT NAMESPACE SERVICE_ACCOUNT KBS2 CHART TENANT_ID OIDC_ISSUER CLIENT_ID \\
  PRINCIPAL_ID VAULT_ID > '${variables}.new' 2>/dev/null || true
mv '${variables}.new' '${variables}'
`
    return spawnSync('bash', ['-c', script], {
      cwd: this.folder,
      encoding: 'utf8',
      timeout: 30_000,
      env: { PATH: `${this.#bin}:/usr/bin:/bin`, HOME: this.folder, GUIDE_STATE: this.#state },
    })
  }

  /** Sets a variable to what it is here. */
  set(name: string, value: string): void {
    writeFileSync(join(this.#state, 'variables'), `${name}='${value}'\n`, { flag: 'a' })
  }

  commands(): readonly GuideCommand[] {
    const lines = readFileSync(join(this.#state, 'commands.jsonl'), 'utf8').split('\n')
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as GuideCommand)
  }

  /** The vault's secrets, versions oldest first. */
  secrets(): ReadonlyMap<string, readonly SetSecret[]> {
    const folder = join(this.#state, 'secrets')
    return new Map(
      readdirSync(folder).map((name) => [
        name,
        readdirSync(join(folder, name))
          .sort()
          .map((file) => ({
            id: file.replace('.json', '').padStart(32, '0'),
            ...(JSON.parse(readFileSync(join(folder, name, file), 'utf8')) as Omit<SetSecret, 'id'>),
          })),
      ]),
    )
  }

  #program(name: string, text: string): void {
    const path = join(this.#bin, name)
    writeFileSync(path, `#!/bin/sh\n${text}\n`)
    chmodSync(path, 0o755)
  }
}
