import { once } from 'node:events'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import { makeCertificate, type TestIdentity } from '@passport-kbs/testing/tls'
import type { Fault, Mend } from './faults.ts'

export type CertificateFault = 'unknown CA' | 'wrong name' | 'expired certificate'

export interface FrontOptions {
  /** Names in its certificate. */
  readonly names?: readonly string[]
  /** False: TCP as it comes, for protocols that begin TLS by themselves. */
  readonly tls?: boolean
  readonly alpn?: readonly string[]
  /** The CA of its certificate; default: one of its own. */
  readonly ca?: TestIdentity
}

/**
 * What stands at a back end's address: it can go away, show other certificates, and hand connections to whoever plays the
 * back end at the moment. The address stays the same.
 */
export class Front {
  readonly ca: TestIdentity
  /** Takes every new connection; TLS is behind it already. */
  connected: (socket: Socket) => void = (socket) => socket.destroy()
  readonly #names: readonly string[]
  readonly #server: Server | TlsServer
  readonly #open = new Set<Socket>()
  #port = 0

  private constructor({ names = ['localhost'], tls = true, alpn, ca }: FrontOptions) {
    this.ca = ca ?? makeCertificate({ name: 'back end CA', ca: true })
    this.#names = names
    const take = (socket: Socket) => {
      this.#open.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => this.#open.delete(socket))
      this.connected(socket)
    }
    const options = { ...this.certificate(), ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }) }
    this.#server = tls ? createTlsServer(options, take) : createTcpServer(take)
    // clients that do not like the certificate hang up
    this.#server.on('tlsClientError', () => {})
  }

  static async start(options: FrontOptions = {}): Promise<Front> {
    const front = new Front(options)
    await front.#listen(0)
    return front
  }

  get port(): number {
    return this.#port
  }

  /** `https://localhost:port` */
  get url(): string {
    return `https://localhost:${this.#port}`
  }

  /** Lets it fail as any server can, by `down` or a certificate; undefined for the faults of one protocol. */
  async begin(fault: Fault): Promise<Mend | undefined> {
    if (fault === 'down') {
      await this.goDown()
      return () => this.comeBack()
    }
    if (fault === 'unknown CA' || fault === 'wrong name' || fault === 'expired certificate') {
      this.show(fault)
      return async () => this.show()
    }
    return undefined
  }

  async goDown(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.drop()
    await closed
  }

  async comeBack(): Promise<void> {
    await this.#listen(this.#port)
  }

  /** From the next connection on; those that exist are cut. Without a fault: the right one. */
  show(fault?: CertificateFault): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(this.certificate(fault))
    this.drop()
  }

  /** Cuts all connections. */
  drop(): void {
    for (const socket of this.#open) socket.destroy()
  }

  async close(): Promise<void> {
    this.drop()
    if (this.#server.listening) await this.goDown()
  }

  async #listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    this.#port = typeof address === 'object' && address !== null ? address.port : port
  }

  /** A new certificate, and its key: the right one, or one that is wrong in one way. */
  certificate(fault?: CertificateFault): { readonly cert: string; readonly key: string } {
    const day = 86_400_000
    const { pem, keyPem } = makeCertificate({
      name: 'back end',
      issuer: fault === 'unknown CA' ? makeCertificate({ name: 'back end CA', ca: true }) : this.ca,
      clientNames: { dns: fault === 'wrong name' ? ['elsewhere.example'] : this.#names },
      ...(fault === 'expired certificate'
        ? { notBefore: new Date(Date.now() - 3 * day), notAfter: new Date(Date.now() - day) }
        : {}),
    })
    return { cert: pem, key: keyPem }
  }
}
