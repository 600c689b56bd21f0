import { fail } from '../rejection.ts'
import type { Check } from '../verifier.ts'

/**
 * Demands that no bit of the TUD group, byte 0 of TD ATTRIBUTES, is set: each of them, DEBUG first, opens the TD to its host.
 * @throws CheckFailure `DEBUG_NOT_ALLOWED`
 */
export function requireTrustedTd(tdAttributes: Uint8Array, allowDebug: boolean): void {
  if (tdAttributes[0] !== 0 && !allowDebug)
    fail('DEBUG_NOT_ALLOWED', 'the TD runs under debug (TUD attributes)')
}

export const tdDebugCheck: Check = {
  name: 'debug',
  source: 'spec 04 §7.1',
  codes: ['DEBUG_NOT_ALLOWED'],
  protects: 'The host can read and write the memory of a debug TD, secrets included.',
}
