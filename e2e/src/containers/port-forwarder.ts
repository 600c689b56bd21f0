/**
 * `node port-forwarder.ts ADDRESS PORT TARGET-ADDRESS TARGET-PORT`: takes connections and hands them on, as an engine
 * does for a published port. Prints a line when it listens.
 */
import { connect, createServer } from 'node:net'

const [address = '', port = '', targetAddress = '', targetPort = ''] = process.argv.slice(2)

const server = createServer({ allowHalfOpen: true }, (client) => {
  const target = connect({ host: targetAddress, port: Number(targetPort), allowHalfOpen: true })
  for (const [from, to] of [
    [client, target],
    [target, client],
  ] as const) {
    from.pipe(to)
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
  }
})
server.listen(Number(port), address, () => console.log('listening'))
