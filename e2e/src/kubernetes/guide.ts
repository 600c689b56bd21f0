import { readFileSync } from 'node:fs'

/** docs/deploy-kubernetes.md. */
export const kubernetesGuide = new URL('../../../docs/deploy-kubernetes.md', import.meta.url).pathname

/** A fenced block of the page. */
export interface Fence {
  readonly language: string
  readonly text: string
}

const fence = /^( *)```(\w+)\n([\s\S]*?)\n\1```$/gm

/** All fenced blocks, those in lists included. */
export function guideFences(page = readFileSync(kubernetesGuide, 'utf8')): readonly Fence[] {
  return [...page.matchAll(fence)].map(([, indent = '', language = '', text = '']) => ({
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }))
}

/** Every command of the page's shell blocks as a list of words; a pipe is several commands. */
export function guideCommands(): readonly (readonly string[])[] {
  return guideFences()
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.replaceAll(/\\\n\s*/g, ' ').split(/\n| \| /))
    .map((line) => line.trim().split(/\s+/))
    .filter(([first = '']) => first !== '')
}

/** What `kubectl create secret` and `create configmap` of the page put together. */
export interface MadeObject {
  readonly kind: 'Secret' | 'ConfigMap'
  readonly name: string
  /** Key, and the file that its content comes from. */
  readonly files: ReadonlyMap<string, string>
}

/** Those of the page, as many times as it makes them. */
export function guideObjects(): readonly MadeObject[] {
  return guideCommands().flatMap((words): readonly MadeObject[] => {
    const create = words.indexOf('create')
    const made = words.slice(create + 1)
    if (words[0] !== 'kubectl' || create === -1) return []
    const options = new Map<string, string[]>()
    for (const word of made) {
      const [, option = '', value = ''] = /^--([a-z-]+)=(.*)$/.exec(word) ?? []
      options.set(option, [...(options.get(option) ?? []), value])
    }
    const files = new Map<string, string>()
    for (const value of options.get('from-file') ?? []) {
      const [key = '', file = ''] = value.includes('=')
        ? value.split('=')
        : [value.replace(/^.*\//, ''), value]
      files.set(key, file)
    }
    if (made[0] === 'secret' && made[1] === 'tls') {
      files.set('tls.crt', options.get('cert')?.[0] ?? '').set('tls.key', options.get('key')?.[0] ?? '')
    }
    if (made[0] === 'secret') return [{ kind: 'Secret', name: made[2] ?? '', files }]
    return made[0] === 'configmap' ? [{ kind: 'ConfigMap', name: made[1] ?? '', files }] : []
  })
}
