/** The checks that `snp` and `az-snp-vtpm` share, in the order in which both make them. */
import type { Check } from '../verifier.ts'

export const snpCheck = {
  version: {
    name: 'report-version',
    source: 'spec 03 §6.1 step 2, §9.2 step 8',
    codes: ['REPORT_VERSION_UNSUPPORTED'],
    protects: 'Version 2 does not name the product, so that the wrong root could be chosen.',
  },
  product: {
    name: 'product',
    source: 'spec 03 §3.7',
    codes: ['PRODUCT_UNSUPPORTED'],
    protects: 'An unknown processor would be read with the layout and root of another.',
  },
  signatureAlgorithm: {
    name: 'signature-algorithm',
    source: 'spec 03 §6.1 step 4',
    codes: ['SIGNATURE_ALGO_UNSUPPORTED'],
    protects: 'A report for another algorithm would be verified as ECDSA.',
  },
  signingKey: {
    name: 'signing-key',
    source: 'spec 03 §3.4, §6.1 step 4',
    codes: ['SIGNING_KEY_UNSUPPORTED'],
    protects:
      'A report that the firmware did not sign, or signed with an unknown key, has no one to vouch for it.',
  },
  chain: {
    name: 'certificate-chain',
    source: 'spec 03 §4.2, §6.1 step 6',
    codes: ['CERT_CHAIN_INVALID', 'PRODUCT_UNSUPPORTED'],
    protects: 'Anyone could make an endorsement key.',
  },
  validity: {
    name: 'certificate-validity',
    source: 'spec 03 §4.7',
    codes: ['CERT_EXPIRED', 'CERT_NOT_YET_VALID'],
    protects: 'A key that AMD or the provider has let expire could still vouch.',
  },
  profile: {
    name: 'certificate-profile',
    source: 'spec 03 §4.3, §4.4',
    codes: ['CERT_PROFILE_INVALID'],
    protects: 'A certificate that AMD made for another purpose could act as endorsement key.',
  },
  signature: {
    name: 'report-signature',
    source: 'spec 03 §3.5',
    codes: ['REPORT_SIGNATURE_INVALID'],
    protects: 'Every field of the report could be invented.',
  },
  chipId: {
    name: 'chip-id',
    source: 'spec 03 §4.5',
    codes: ['CHIP_ID_MISMATCH'],
    protects: 'The key of one chip could vouch for a report that names another.',
  },
  tcb: {
    name: 'reported-tcb',
    source: 'spec 03 §4.5',
    codes: ['TCB_MISMATCH', 'REPORT_RESERVED_NONZERO'],
    protects: 'Old firmware could report a newer version than its key is derived from.',
  },
  vmpl: {
    name: 'vmpl',
    source: 'spec 03 §6.1 step 10, §9.2 step 11',
    codes: ['VMPL_UNSUPPORTED'],
    protects: 'Less privileged software in the guest could ask for its own report.',
  },
  debug: {
    name: 'debug-gate',
    source: 'spec 03 §6.1',
    codes: ['DEBUG_NOT_ALLOWED'],
    protects: 'The host can read the memory of a guest that allows debugging.',
  },
  revocation: {
    name: 'certificate-revocation',
    source: 'spec 03 §4.6',
    codes: ['CERT_REVOKED', 'CRL_UNAVAILABLE'],
    protects: 'A signing key that AMD has withdrawn could still vouch.',
  },
} as const satisfies Readonly<Record<string, Check>>
