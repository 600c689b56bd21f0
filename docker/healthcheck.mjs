// The image's health check: does the service, asked over loopback, say that it is ready?
// Its certificate is for the name that guests use, not for 127.0.0.1. Nothing secret is sent, so it is not checked.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')
const url = process.env.KBS_HEALTH_URL ?? 'https://127.0.0.1:8080/readyz'
const ready = await fetch(url, { signal: AbortSignal.timeout(4_000) }).then(
  (response) => response.ok,
  () => false,
)
process.exit(ready ? 0 : 1)
