import { commandsAvailable } from '../commands.ts'

const isRoot = process.getuid?.() === 0

/** As containers run a program: for root, too, permissions hold. */
export function withoutPrivileges(): readonly string[] {
  if (!isRoot) return []
  return ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs', '--']
}

/** Whether disks can be made to fail here. */
export function diskFaultsAvailable(): boolean {
  return commandsAvailable(isRoot ? ['prlimit', 'setpriv'] : ['prlimit'], 'tests of failing disks')
}
