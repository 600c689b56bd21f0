import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type ServingStatus,
  serviceNames,
} from '@passport-kbs/attestation-service/remote'
import type { Logger } from '@passport-kbs/service'

/** gRPC's health service: NOT_SERVING while the stores do not answer, and once the process has been told to stop. */
export interface HealthService {
  readonly methods: UntypedServiceImplementation
  /** Says NOT_SERVING from now on, and ends the streams that watch. */
  drain(): void
}

/** The whole server, and each of its services. */
const knownServices: readonly string[] = ['', serviceNames.attestation, serviceNames.referenceValues]
const probeTimeoutMs = 2_000
const cacheMs = 1_000
const watchIntervalMs = 5_000
const maxWatchers = 100

/** Anyone may ask: results are kept for a second, so that asking does not load the stores. */
export function createHealthService(options: {
  readonly probe: () => Promise<void>
  readonly logger: Logger
}): HealthService {
  let draining = false
  let latest: { readonly at: number; readonly result: Promise<ServingStatus> } | undefined
  const watchers = new Set<() => void>()

  const check = async (): Promise<ServingStatus> => {
    if (draining) return 'NOT_SERVING'
    const at = performance.now()
    if (latest === undefined || at - latest.at > cacheMs) latest = { at, result: probed(options) }
    return await latest.result
  }
  const answer: handleUnaryCall<HealthCheckRequest, HealthCheckResponse> = (call, callback) => {
    if (!knownServices.includes(call.request.service ?? ''))
      return callback({ code: status.NOT_FOUND, details: 'there is no service of that name' })
    check().then((serving) => callback(null, { status: serving }), callback)
  }
  const watch: handleServerStreamingCall<HealthCheckRequest, HealthCheckResponse> = (call) => {
    if (draining || watchers.size >= maxWatchers) {
      call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many watch already' })
      return
    }
    const known = knownServices.includes(call.request.service ?? '')
    let told: ServingStatus | undefined
    const tell = async () => {
      const serving = known ? await check() : 'SERVICE_UNKNOWN'
      if (serving !== told && !call.cancelled) call.write({ status: serving })
      told = serving
    }
    const timer = setInterval(() => void tell(), watchIntervalMs).unref()
    const forget = () => {
      clearInterval(timer)
      watchers.delete(end)
    }
    const end = () => {
      forget()
      void tell().then(() => call.end())
    }
    watchers.add(end)
    call.on('cancelled', forget)
    void tell()
  }
  return {
    methods: { Check: answer, Watch: watch } as UntypedServiceImplementation,
    drain() {
      draining = true
      for (const end of [...watchers]) end()
    },
  }
}

async function probed({ probe, logger }: Parameters<typeof createHealthService>[0]): Promise<ServingStatus> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${probeTimeoutMs} ms`)), probeTimeoutMs)
  })
  try {
    await Promise.race([probe(), late])
    return 'SERVING'
  } catch (err) {
    logger.warn({ err }, 'the service is not ready')
    return 'NOT_SERVING'
  } finally {
    clearTimeout(timer)
  }
}
