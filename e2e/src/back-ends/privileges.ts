/** As containers run a program: for root, too, permissions hold. */
export function withoutPrivileges(): readonly string[] {
  if (process.getuid?.() !== 0) return []
  return ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs', '--']
}
