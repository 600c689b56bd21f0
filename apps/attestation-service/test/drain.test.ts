import { setTimeout as delay } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { expect, it } from 'vitest'
import { startAttestationService } from './fixtures.ts'
import { connect, health, methodOf } from './trustee-kbs.ts'

it('a service that is told to stop says so to those who watch, then accepts nothing more', async () => {
  const service = await startAttestationService({ http_server: { drain_timeout_ms: 2_000 } })
  const kbs = connect(service.grpc)
  const { path, requestSerialize, responseDeserialize } = methodOf(health, 'Watch')
  const watched = kbs.client.makeServerStreamRequest(
    path,
    requestSerialize,
    (bytes) => responseDeserialize(bytes) as { status: string },
    { service: '' },
  )
  const told: string[] = []
  watched.on('data', (message: { status: string }) => told.push(message.status))
  watched.on('error', () => {})
  const ended = new Promise<void>((resolve) => watched.on('end', () => resolve()))
  while (told.length === 0) await delay(10)

  const closed = service.close()
  await ended
  await closed
  expect(told).toEqual(['SERVING', 'NOT_SERVING'])
  await expect(kbs.call(health, 'Check', { service: '' })).rejects.toMatchObject({ code: status.UNAVAILABLE })
  kbs.client.close()
}, 20_000)
