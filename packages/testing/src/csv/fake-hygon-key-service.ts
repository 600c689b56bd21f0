import { Hono } from 'hono'

/** How the service misbehaves. */
export type HygonKeyServiceFault =
  | 'error'
  | 'redirect'
  | 'too-large'
  | 'cut-short'
  | 'never-answers'
  | 'body-never-ends'

/** A key service in the manner of Hygon's: `GET /hsk_cek?snumber=<chip id>`. */
export interface FakeHygonKeyService {
  /** To be mounted on a server. */
  readonly app: Hono
  /** The same service as a Fetch function, without a network; ignores the host. */
  fetch(
    url: string,
    init?: { signal?: AbortSignal; redirect?: 'error' | 'follow' | 'manual' },
  ): Promise<Response>
  /** Chip ids that were asked for, in order. */
  readonly requests: readonly string[]
  /** Set to make the following answers wrong. */
  fault: HygonKeyServiceFault | undefined
}

export function fakeHygonKeyService(
  chips: readonly { readonly chipId: string; readonly hskCek: Uint8Array }[],
): FakeHygonKeyService {
  const requests: string[] = []
  const app = new Hono()
  const service: FakeHygonKeyService = {
    app,
    requests,
    fault: undefined,
    async fetch(url, init) {
      const answered = Promise.resolve(app.request(url))
      const response = await (init?.signal === undefined ? answered : orAborted(answered, init.signal))
      if (init?.redirect === 'error' && response.status >= 300 && response.status < 400) {
        throw new TypeError('redirect refused')
      }
      return response
    },
  }
  app.get('/hsk_cek', async (context) => {
    const chipId = context.req.query('snumber') ?? ''
    requests.push(chipId)
    const chip = chips.find((known) => known.chipId === chipId)
    if (service.fault !== undefined) return faultyAnswer(service.fault, chip?.hskCek ?? new Uint8Array(0))
    return chip === undefined ? context.notFound() : answer(chip.hskCek)
  })
  return service
}

function answer(body: Uint8Array): Response {
  return new Response(Uint8Array.from(body), { headers: { 'Content-Type': 'application/octet-stream' } })
}

async function faultyAnswer(fault: HygonKeyServiceFault, body: Uint8Array): Promise<Response> {
  switch (fault) {
    case 'error':
      return new Response('out of order', { status: 503 })
    case 'redirect':
      return new Response(null, { status: 302, headers: { Location: 'https://elsewhere.example/' } })
    case 'too-large':
      return answer(new Uint8Array(1024 * 1024))
    case 'cut-short':
      return answer(body.subarray(0, body.length / 2))
    case 'never-answers':
      return await new Promise<Response>(() => {})
    case 'body-never-ends':
      return new Response(
        new ReadableStream({ start: (controller) => controller.enqueue(body.slice(0, 16)) }),
      )
  }
}

function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    work.then(resolve, reject)
  })
}
