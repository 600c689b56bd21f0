import { readFileSync } from 'node:fs'

/** A piece of a guide that is run as it stands. */
export interface GuideBlock {
  /** Names of the hosts that it is for. */
  readonly hosts: readonly string[]
  /** What it is called, where it is not for the first run. */
  readonly name: string | undefined
  readonly script: string
}

const block = /<!-- run on ([a-z0-9 ]+?)(?: as ([a-z-]+))? -->\n```sh\n([\s\S]*?)\n```/g

/** The shell blocks of a Markdown page that a comment before them, `<!-- run on HOST… [as NAME] -->`, marks. */
export function guideBlocks(path: string): readonly GuideBlock[] {
  const page = readFileSync(path, 'utf8')
  return [...page.matchAll(block)].map(([, hosts = '', name, script = '']) => ({
    hosts: hosts.split(' '),
    name,
    script,
  }))
}
