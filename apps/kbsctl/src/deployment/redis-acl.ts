import { createHash } from 'node:crypto'

/** The user that the programs are, and what the names of all their keys begin with (`key_prefix`). */
export const redisUser = 'kbs'
export const redisKeyPrefix = 'kbs:'

/** Values, sessions and their scripts, and readiness: all that docs/storage.md lists for one server, and nothing else. */
const commands = [
  ...['get', 'set', 'del', 'mget', 'scan', 'eval', 'ping', 'info'],
  ...['exists', 'hset', 'hget', 'hmget', 'hdel', 'pexpire'],
]

/**
 * An ACL file for Redis 7. It holds SHA-256 hashes, so whoever reads it cannot log in. Nobody can be the user `default`,
 * which keeps its rights because Redis replays its append-only file as that user.
 *
 * @param passwords each of them lets the user in; two while one replaces the other
 */
export function redisAcl(passwords: readonly string[]): string {
  const hashes = passwords.map((password) => `#${createHash('sha256').update(password).digest('hex')}`)
  const rights = commands.map((command) => `+${command}`).join(' ')
  return [
    'user default off resetpass ~* &* +@all',
    `user ${redisUser} on ${hashes.join(' ')} resetchannels resetkeys ~${redisKeyPrefix}* -@all ${rights}`,
    '',
  ].join('\n')
}
