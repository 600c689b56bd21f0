import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { redisCommand } from './redis-cli.ts'
import { answersPing, freePort, RedisProcess } from './redis-process.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

/** A master, a replica, and one sentinel that makes the replica master when the master is gone. */
export interface RedisSentinel {
  readonly masterName: string
  /** `host:port` of the sentinel. */
  readonly nodes: readonly string[]
  readonly master: RedisServer
  readonly replica: RedisServer
  stop(): Promise<void>
}

/** Starts the three and returns once the sentinel knows the replica, so that a failover can succeed. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const masterName = 'kbs'
  const master = await startRedis()
  const replica = await startRedis({ directives: [`replicaof 127.0.0.1 ${master.port}`] })
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'kbs-sentinel-'))
  const configFile = join(folder, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor ${masterName} 127.0.0.1 ${master.port} 1`,
    `sentinel down-after-milliseconds ${masterName} 500`,
    `sentinel failover-timeout ${masterName} 2000`,
  ]
  await writeFile(configFile, `${lines.join('\n')}\n`)
  const sentinel = new RedisProcess('redis-sentinel', configFile, () => answersPing(port))
  await sentinel.start()
  while (
    !(await redisCommand(port, 'sentinel', 'replicas', masterName)).includes(`127.0.0.1:${replica.port}`)
  ) {
    await delay(100)
  }
  return {
    masterName,
    nodes: [`127.0.0.1:${port}`],
    master,
    replica,
    async stop() {
      await Promise.all([sentinel.stop(), master.stop(), replica.stop()])
      await rm(folder, { recursive: true, force: true })
    },
  }
}
