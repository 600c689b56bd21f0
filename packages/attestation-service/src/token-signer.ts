import { encodeUtf8, type JsonObject, stringifyJson } from '@passport-kbs/protocol'
import { CompactSign } from 'jose'
import { createKeyFiles, maxRetiredKeys, type RetiredKey } from './key-files.ts'
import { deriveSecret, type SigningState, type TokenJwk } from './signing-key.ts'

export interface TokenSignerOptions {
  /** PEM file with the P-256 private key. Absent: a key is made. */
  readonly keyPath?: string
  /** PEM file with the certificate chain of `keyPath`, leaf first. */
  readonly certPath?: string
  /** Published as `x5u`. */
  readonly certUrl?: string
  /** Directory for a key that is made, and for public keys that were replaced. Absent: both end with the process. */
  readonly stateDir?: string
  /** PEM files with public keys or certificates to publish besides: of earlier keys, of another replica. */
  readonly previousKeyPaths?: readonly string[]
  /** How long a replaced key stays published, in seconds: longer than a token lives. Default one day. */
  readonly retainSeconds?: number
  /** How often files are looked at for a change, in milliseconds, when tokens are signed or keys asked for. Default 5 s. */
  readonly checkIntervalMs?: number
  readonly now?: () => Date
  /** Told of what an operator should know: a failed reload, an expired certificate. */
  readonly onNotice?: (notice: string, cause?: unknown) => void
}

/** Signs tokens, and publishes the keys with which they can be verified. */
export interface TokenSigner {
  /** Compact JWS, ES256, with `kid` and `jwk` in its header (spec 02 §3.1). */
  sign(payload: JsonObject): Promise<string>
  /** The current key, then those of tokens that may still be valid. */
  jwks(): { keys: readonly TokenJwk[] }
  /** Thumbprint of the current key. */
  readonly kid: string
  /** Until when the certificate chain is valid; undefined without one. */
  readonly certificateNotAfter: Date | undefined
  /**
   * Makes a new key and signs with it from now on; answers its thumbprint. With `withdraw`, for a key that has leaked,
   * the former is no longer published. Throws `SigningKeyError` where the key comes from `keyPath`.
   */
  rotate(options?: { readonly withdraw?: boolean }): Promise<string>
  /**
   * A secret of 32 bytes for `purpose`, the same in every process that signs with the current key, and of no use for
   * signing. It changes when the key does.
   */
  deriveKey(purpose: string): Promise<Uint8Array>
  /** Reads the files again. Answers whether one of them has changed; on an error the former stay in use. */
  reload(): Promise<boolean>
}

const daySeconds = 86_400

/**
 * Makes a signer whose key can be replaced while it runs (spec 02 W-9, W-10): through `rotate`, or by new files at
 * `keyPath` and `certPath`. A replaced key stays published for `retainSeconds`.
 * @throws SigningKeyError for a key that is not P-256, and for certificates that are not of the key, do not follow from
 * each other or are not valid now.
 */
export async function createTokenSigner(options: TokenSignerOptions = {}): Promise<TokenSigner> {
  const now = options.now ?? (() => new Date())
  const notice = options.onNotice ?? (() => {})
  const checkIntervalMs = options.checkIntervalMs ?? 5_000
  const files = createKeyFiles(options, now)
  let state = await files.load()
  let retired = await files.loadRetired()
  let checkedAt = now().getTime()
  let pending: Promise<unknown> = Promise.resolve()
  let expiredChain: SigningState['chain']

  /** Before a new key takes its place: a key is never unpublished while its tokens are valid. */
  const retireKey = async (jwk: TokenJwk) => {
    const until = new Date(now().getTime() + (options.retainSeconds ?? daySeconds) * 1000)
    // another replica may have written keys that this one never had
    const known = distinct([{ jwk, until }, ...retired, ...(await files.loadRetired())])
    retired = stillPublished(known, now()).slice(0, maxRetiredKeys)
    await files.saveRetired(retired)
  }
  /** One change after the other. */
  const change = <T>(make: () => Promise<T>): Promise<T> => {
    const changed = pending.then(make)
    pending = changed.catch(() => undefined)
    return changed
  }
  const reload = () =>
    change(async () => {
      if ((await files.stamp()) === state.stamp) return false
      const next = await files.load()
      if (next.jwk.kid !== state.jwk.kid) await retireKey(state.jwk)
      state = next
      return true
    })
  const checkFiles = async () => {
    const time = now().getTime()
    if (!files.watched || Math.abs(time - checkedAt) < checkIntervalMs) return
    checkedAt = time
    try {
      await reload()
    } catch (cause) {
      notice('the signing key could not be read again; the former stays in use', cause)
    }
    if (state.chain && state.chain !== expiredChain && state.chain.notAfter <= now()) {
      expiredChain = state.chain
      notice('the certificate of the signing key has expired: relying parties that need it refuse new tokens')
    }
  }

  return {
    sign: async (payload) => {
      await checkFiles()
      const { key, jwk } = state
      return await new CompactSign(encodeUtf8(stringifyJson(payload)))
        .setProtectedHeader({ typ: 'JWT', alg: 'ES256', kid: jwk.kid, jwk: headerJwk(jwk) })
        .sign(key)
    },
    jwks: () => {
      void checkFiles()
      const others = [...stillPublished(retired, now()), ...state.previous.map((jwk) => ({ jwk }))]
      return { keys: distinct([{ jwk: state.jwk }, ...others]).map(({ jwk }) => jwk) }
    },
    get kid() {
      return state.jwk.kid
    },
    get certificateNotAfter() {
      return state.chain?.notAfter
    },
    rotate: ({ withdraw = false } = {}) =>
      change(async () => {
        if (!withdraw) await retireKey(state.jwk)
        state = await files.replaceKey()
        return state.jwk.kid
      }),
    deriveKey: async (purpose) => {
      await checkFiles()
      return deriveSecret(state.key, purpose)
    },
    reload,
  }
}

function headerJwk({ use: _, ...jwk }: TokenJwk): Record<string, unknown> {
  return jwk
}

function stillPublished(keys: readonly RetiredKey[], now: Date): readonly RetiredKey[] {
  return keys.filter(({ until }) => until > now)
}

/** The first entry of each key. */
function distinct<T extends { readonly jwk: TokenJwk }>(keys: readonly T[]): readonly T[] {
  return keys.filter(({ jwk }, index) => keys.findIndex((other) => other.jwk.kid === jwk.kid) === index)
}
