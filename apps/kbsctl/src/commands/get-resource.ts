import { createGuest, getResourceWithPassport, resourceUrl } from '@passport-kbs/guest-client'
import { encodeBase64 } from '@passport-kbs/protocol'
import { trustOf } from '../admin-client.ts'
import { readText, tokenIn } from '../files.ts'
import { type AttestationOptions, guestOptions, readTeeKey } from '../guest-options.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface GetResourceOptions extends AttestationOptions {
  /** `repository/type/tag`, or a `kbs://` URI. */
  readonly path: string
  /** Shows this token, which another server issued, instead of attesting. */
  readonly attestationToken?: string
}

/** Fetches a resource and prints its bytes in standard base64. */
export async function getResource(
  terminal: Terminal,
  initData: string | undefined,
  options: GetResourceOptions,
): Promise<void> {
  requireResourcePath(options)
  const resource =
    options.attestationToken === undefined
      ? await createGuest(await guestOptions(terminal, options, initData)).getResource(options.path)
      : await fetchedWithToken(terminal, options.attestationToken, options)
  terminal.out(encodeBase64(resource))
}

function requireResourcePath({ url, path }: GetResourceOptions): void {
  try {
    resourceUrl(url, path)
  } catch (cause) {
    throw new CommandFailed('--path is neither a path nor a kbs:// URI', { cause })
  }
}

async function fetchedWithToken(
  terminal: Terminal,
  tokenFile: string,
  options: GetResourceOptions,
): Promise<Uint8Array> {
  const { teeKeyFile } = options
  if (teeKeyFile === undefined) throw new CommandFailed('--attestation-token needs --tee-key-file')
  return await getResourceWithPassport({
    kbsUrl: options.url,
    token: tokenIn(await readText(terminal, tokenFile), tokenFile),
    teeKey: await readTeeKey(terminal, teeKeyFile),
    path: options.path,
    ...(await trustOf(terminal, options)),
  })
}
