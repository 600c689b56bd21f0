import { createGuest } from '@passport-kbs/guest-client'
import { type AttestationOptions, guestOptions } from '../guest-options.ts'
import type { Terminal } from '../terminal.ts'

/** Attests and prints the token, the passport for other servers. */
export async function attest(
  terminal: Terminal,
  initData: string | undefined,
  options: AttestationOptions,
): Promise<void> {
  const { token } = await createGuest(await guestOptions(terminal, options, initData)).attest()
  terminal.out(token)
}
