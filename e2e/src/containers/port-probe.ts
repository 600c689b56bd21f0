/** `node port-probe.ts HOST PORT`: prints `connected`, or the code of the error with which no connection is made. */
import { connect } from 'node:net'

const timeoutMs = 1_500
const [host = '', port = ''] = process.argv.slice(2)

const socket = connect({ host, port: Number(port) })
const tell = (outcome: string) => {
  console.log(outcome)
  socket.destroy()
}
socket.once('connect', () => tell('connected'))
socket.once('error', (error) => tell('code' in error ? String(error.code) : error.message))
socket.setTimeout(timeoutMs, () => tell('ETIMEDOUT'))
