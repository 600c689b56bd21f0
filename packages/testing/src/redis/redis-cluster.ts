import { setTimeout as delay } from 'node:timers/promises'
import { redisCommand } from './redis-cli.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

/** Three masters that share the slots, no replicas. */
export interface RedisCluster {
  /** `host:port` of each node. */
  readonly nodes: readonly string[]
  readonly servers: readonly RedisServer[]
  stop(): Promise<void>
}

/** Starts three nodes, joins them, and returns once each of them says that the cluster is well. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const directives = ['cluster-enabled yes', 'cluster-config-file nodes.conf', 'cluster-node-timeout 2000']
  const servers = await Promise.all([1, 2, 3].map(() => startRedis({ directives })))
  const nodes = servers.map((server) => `127.0.0.1:${server.port}`)
  const [first] = servers
  if (first === undefined) throw new Error('no cluster node')
  await redisCommand(first.port, '--cluster', 'create', ...nodes, '--cluster-yes')
  for (const server of servers) {
    while (!(await redisCommand(server.port, 'cluster', 'info')).includes('cluster_state:ok'))
      await delay(100)
  }
  return {
    nodes,
    servers,
    async stop() {
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}
