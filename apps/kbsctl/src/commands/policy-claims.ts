import { annotatedEvidence, pathsOf, teeClaims, tokenClaims } from '@passport-kbs/policy'
import { CommandFailed, type Terminal } from '../terminal.ts'

/** Prints the paths that policies find in their input: of a token, or of the evidence of a TEE. */
export function policyClaims(terminal: Terminal, tee: string | undefined): void {
  for (const line of pathsFor(tee)) terminal.out(line)
}

function pathsFor(tee: string | undefined): readonly string[] {
  if (tee === undefined) {
    const evidence = 'input.submods[name]["ear.veraison.annotated-evidence"]'
    return pathsOf(tokenClaims, 'input').filter(
      (path) => !path.startsWith(`${evidence}.`) && !path.startsWith(`${evidence}[`),
    )
  }
  const known = Object.keys(teeClaims)
  if (!known.includes(tee))
    throw new CommandFailed(`no claims of ${tee} are known; of ${known.join(', ')} they are`)
  const others = new Set(known.filter((name) => name !== tee))
  const members = Object.entries(annotatedEvidence.members ?? {}).filter(([name]) => !others.has(name))
  return pathsOf({ kinds: ['object'], members: Object.fromEntries(members) }, 'input')
}
