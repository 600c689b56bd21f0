import { openLocalFsStorage } from './local-fs/local-fs-storage.ts'
import { openLocalJsonStorage } from './local-json/local-json-storage.ts'
import { openPostgresSessionStore } from './postgres/postgres-session-store.ts'
import { openRedisSessionStore } from './redis/redis-session-store.ts'
import type { SessionStore } from './session-store.ts'
import { openMemorySessionStore } from './sessions/memory-session-store.ts'
import { openStoredSessionStore } from './sessions/stored-session-store.ts'
import type { StorageConfig } from './storage-config.ts'

/** Live sessions that one process makes at most, but in Redis; `/auth` is open to everyone (spec 01 §11.1 no. 1). */
export const DEFAULT_MAX_SESSIONS = 100_000

/**
 * Where sessions are kept, and how many a process may make (Redis bounds its memory itself, `maxmemory` with
 * `noeviction`). Memory serves one process, LocalFs and LocalJson one machine, Redis and PostgreSQL any number of replicas.
 */
export type SessionStoreConfig = StorageConfig & { readonly maxSessions?: number | undefined }

/**
 * Opens a session store. As with `openStorage`, a server that is down shows in the methods, not here.
 *
 * @param options.now the clock that expiry is judged by
 * @throws StorageUnavailable, StorageConfigError as `openStorage`
 */
export async function openSessionStore(
  config: SessionStoreConfig,
  options: { readonly now?: () => Date } = {},
): Promise<SessionStore> {
  const now = options.now ?? (() => new Date())
  const maxSessions = config.maxSessions ?? DEFAULT_MAX_SESSIONS
  switch (config.type) {
    case 'Memory':
      return openMemorySessionStore(maxSessions, now)
    case 'LocalFs':
      return openStoredSessionStore(await openLocalFsStorage(config.dirPath), maxSessions, now)
    case 'LocalJson':
      return openStoredSessionStore(await openLocalJsonStorage(config.folder), maxSessions, now)
    case 'Redis':
      return openRedisSessionStore(config.redis, now)
    case 'Postgres':
      return openPostgresSessionStore(config.postgres, maxSessions, now)
  }
}
