import { type Attester, type GuestOptions, sampleAttester } from '@passport-kbs/guest-client'
import { importTeePrivateKeyPem, TeeKeyError, type TeePrivateKey } from '@passport-kbs/protocol'
import { type ServerOptions, trustOf } from './admin-client.ts'
import { readText } from './files.ts'
import { CommandFailed, type Terminal } from './terminal.ts'

export interface AttestationOptions extends ServerOptions {
  readonly tee: string
  readonly teeKeyFile?: string
}

/** What the guest library needs, from what the user said. @param initData the document itself, TOML. */
export async function guestOptions(
  terminal: Terminal,
  options: AttestationOptions,
  initData: string | undefined,
): Promise<GuestOptions> {
  return {
    kbsUrl: options.url,
    attester: attesterFor(options.tee),
    now: terminal.now,
    ...(await trustOf(terminal, options)),
    ...(options.teeKeyFile === undefined ? {} : { teeKey: await readTeeKey(terminal, options.teeKeyFile) }),
    ...(initData === undefined ? {} : { initData: { format: 'toml', body: initData } }),
  }
}

/** Reads a TEE's private key in PEM form. @throws CommandFailed */
export async function readTeeKey(terminal: Terminal, file: string): Promise<TeePrivateKey> {
  const pem = await readText(terminal, file)
  try {
    return importTeePrivateKeyPem(pem)
  } catch (cause) {
    if (cause instanceof TeeKeyError) throw new CommandFailed(`${file}: ${cause.message}`, { cause })
    throw cause
  }
}

/** Evidence is made for the challenge of the moment, so recorded evidence of a real TEE cannot stand in for one. */
function attesterFor(tee: string): Attester {
  if (tee === 'sample') return sampleAttester()
  throw new CommandFailed(
    `no attester for ${tee} here: only "sample"; inside a TEE the attestation agent attests (recorded evidence: kbsctl verify)`,
  )
}
