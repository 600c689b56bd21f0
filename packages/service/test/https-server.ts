import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { makeServerIdentity } from '@passport-kbs/testing/tls'

/** A real https server whose documents the test changes. */
export interface DocumentServer {
  readonly url: string
  readonly caPem: string
  /** By path. A number is answered as a status, `'hang'` never. */
  readonly documents: Map<string, string | number>
  readonly requests: string[]
  close(): Promise<void>
}

export async function startDocumentServer(): Promise<DocumentServer> {
  const { ca, server: identity } = makeServerIdentity('documents')
  const documents = new Map<string, string | number>()
  const requests: string[] = []
  const server: Server = createServer({ key: identity.keyPem, cert: identity.pem }, (request, response) => {
    requests.push(request.url ?? '')
    const document = documents.get(request.url ?? '')
    if (document === 'hang') return
    if (typeof document === 'number') response.writeHead(document, { location: '/jwks' }).end()
    else if (document === undefined) response.writeHead(404).end('not found')
    else response.writeHead(200, { 'content-type': 'application/json' }).end(document)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caPem: ca.pem,
    documents,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
