import { posix } from 'node:path'
import { type Healthcheck, healthcheckOf } from './compose-file.ts'

/** What the last stage of a Dockerfile, or the stage that is asked for, makes of its base image. */
export interface Stage {
  /** The image of a registry under this stage and those it stands on. */
  readonly base: string
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string
  readonly user: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly healthcheck: Healthcheck | undefined
  readonly copies: readonly Copy[]
  /** What is run in this stage while the image is built. */
  readonly commands: readonly string[]
}

export interface Copy {
  /** The stage that it comes from; absent: the build context. */
  readonly from: Stage | undefined
  readonly sources: readonly string[]
  /** Absolute; ends in `/` where it is a folder. */
  readonly target: string
  /** Octal. */
  readonly mode: number | undefined
}

interface Instruction {
  readonly name: string
  readonly text: string
}

/** @throws on instructions and flags that are not known here. */
export function readDockerfile(
  text: string,
  args: Readonly<Record<string, string>>,
  target: string | undefined,
): Stage {
  const stages = new Map<string, Stage>()
  const globals: Record<string, string> = {}
  let stage: OpenStage | undefined
  let last = ''
  for (const { name, text: line } of instructions(text)) {
    if (name === 'FROM') {
      const [image = '', as, alias] = substitute(line, globals).split(/\s+/)
      last = as?.toUpperCase() === 'AS' && alias ? alias : String(stages.size)
      stage = openStage(stages.get(image) ?? emptyStage(image), args, globals)
      stages.set(last, stage)
    } else if (stage !== undefined) {
      apply(stage, name, line, stages)
    } else {
      if (name !== 'ARG') throw new Error(`Dockerfile: ${name} before FROM`)
      declare(globals, line, args)
    }
  }
  const wanted = stages.get(target ?? last)
  if (wanted === undefined) throw new Error(`Dockerfile: no stage ${target}`)
  return wanted
}

interface OpenStage extends Stage {
  env: Record<string, string>
  workingDir: string
  user: string
  entrypoint: readonly string[]
  command: readonly string[]
  healthcheck: Healthcheck | undefined
  readonly copies: Copy[]
  readonly commands: string[]
  /** Build arguments that the stage has declared. */
  readonly variables: Record<string, string>
  readonly args: Readonly<Record<string, string>>
  readonly globals: Readonly<Record<string, string>>
}

function emptyStage(base: string): Stage {
  return {
    base,
    env: {},
    workingDir: '/',
    user: '0:0',
    entrypoint: [],
    command: [],
    healthcheck: undefined,
    copies: [],
    commands: [],
  }
}

function openStage(
  base: Stage,
  args: Readonly<Record<string, string>>,
  globals: Readonly<Record<string, string>>,
): OpenStage {
  return {
    ...base,
    env: { ...base.env },
    copies: [...base.copies],
    commands: [...base.commands],
    variables: {},
    args,
    globals,
  }
}

function apply(stage: OpenStage, name: string, line: string, stages: ReadonlyMap<string, Stage>): void {
  const value = () => substitute(line, { ...stage.variables, ...stage.env })
  switch (name) {
    case 'ARG':
      declare(stage.variables, line, stage.args, stage.globals)
      return
    case 'ENV':
      for (const pair of value().split(/\s+/)) {
        const [, key, setting] = /^(\w+)=(.*)$/.exec(pair) ?? []
        if (key === undefined || setting === undefined) throw new Error(`Dockerfile: ENV ${line}`)
        stage.env[key] = setting.replaceAll('"', '')
      }
      return
    case 'WORKDIR':
      stage.workingDir = posix.resolve(stage.workingDir, value())
      return
    case 'USER':
      stage.user = value()
      return
    case 'ENTRYPOINT':
      stage.entrypoint = execForm(line)
      stage.command = []
      return
    case 'CMD':
      stage.command = execForm(line)
      return
    case 'HEALTHCHECK':
      stage.healthcheck = readHealthcheck(line)
      return
    case 'COPY':
      stage.copies.push(readCopy(value(), stage.workingDir, stages))
      return
    case 'RUN':
      stage.commands.push(line)
      return
    case 'EXPOSE':
    case 'LABEL':
      return
  }
  throw new Error(`Dockerfile: what ${name} means is not known here`)
}

function declare(
  variables: Record<string, string>,
  line: string,
  args: Readonly<Record<string, string>>,
  globals: Readonly<Record<string, string>> = {},
): void {
  const [name = '', otherwise] = line.split('=')
  const value = args[name] ?? otherwise ?? globals[name]
  if (value !== undefined) variables[name] = value.replaceAll('"', '')
}

function readCopy(line: string, workingDir: string, stages: ReadonlyMap<string, Stage>): Copy {
  const flags = new Map([...line.matchAll(/--(\w+)=(\S+)/g)].map(([, flag, value]) => [flag, value]))
  const paths = line.split(/\s+/).filter((word) => !word.startsWith('--'))
  const target = paths.pop() ?? ''
  const stage = flags.get('from')
  const from = stage === undefined ? undefined : stages.get(stage)
  if (stage !== undefined && from === undefined) throw new Error(`Dockerfile: COPY from ${stage}`)
  const folder = target.endsWith('/') || target === '.' || paths.length > 1
  const mode = flags.get('chmod')
  return {
    from,
    sources: paths.map((path) => (from === undefined ? path : posix.resolve(from.workingDir, path))),
    target: posix.resolve(workingDir, target) + (folder ? '/' : ''),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8),
  }
}

function readHealthcheck(line: string): Healthcheck {
  const [, flags = '', test = ''] = /^(.*?)CMD\s+(.*)$/s.exec(line) ?? []
  const flag = (name: string) => new RegExp(`--${name}=(\\S+)`).exec(flags)?.[1]
  const retries = flag('retries')
  return healthcheckOf(['CMD', ...execForm(test)], {
    interval: flag('interval'),
    timeout: flag('timeout'),
    startPeriod: flag('start-period'),
    retries: retries === undefined ? undefined : Number(retries),
  })
}

function execForm(line: string): readonly string[] {
  const words: unknown = JSON.parse(line)
  if (!Array.isArray(words)) throw new Error(`Dockerfile: not in exec form: ${line}`)
  return words.map(String)
}

function substitute(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$(?:(\w+)|\{(\w+)\})/g, (_, bare, braced) => variables[bare ?? braced] ?? '')
}

/** One a line, continued lines joined, comments left out. */
function instructions(text: string): readonly Instruction[] {
  const lines = text
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const [, name = '', rest = ''] = /^\s*(\w+)\s+(.*)$/.exec(line) ?? []
    if (rest.includes('<<')) throw new Error('Dockerfile: here-documents are not known here')
    return { name: name.toUpperCase(), text: rest.trim() }
  })
}
