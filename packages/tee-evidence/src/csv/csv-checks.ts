import type { Check } from '../verifier.ts'

/** The checks of a CSV report in the order of spec 04 §9.5; the event log's follow. */
export const csvChecks: readonly Check[] = [
  {
    name: 'evidence-format',
    source: 'spec 04 §9.1, §9.2',
    codes: ['EVIDENCE_MALFORMED'],
    protects: 'Ambiguous input could be read one way here and another way elsewhere.',
  },
  {
    name: 'report-version',
    source: 'spec 04 §9.1, §9.7',
    codes: ['CSV_REPORT_UNSUPPORTED', 'EVIDENCE_VERSION_TOO_OLD'],
    protects:
      'A V1 report can be shifted by whoever holds it; an unknown one would be read by the wrong table.',
  },
  {
    name: 'event-log-member',
    source: 'spec 04 §9.1, §9.5 step 13',
    codes: ['EVIDENCE_MALFORMED', 'EVENTLOG_MALFORMED'],
    protects: 'A log that could not be read, or that the operator requires, would be left out in silence.',
  },
  {
    name: 'chip-id',
    source: 'spec 04 §9.5 step 2',
    codes: ['CSV_SERIAL_INVALID'],
    protects: 'The id goes into a path and a URL: the guest could read another file or ask for another chip.',
  },
  {
    name: 'pek-copy',
    source: 'spec 04 §9.5 step 3',
    codes: ['CSV_PEK_MISMATCH'],
    protects: 'The report would be checked with another key than the one its firmware put beside it.',
  },
  {
    name: 'serial-number-copy',
    source: 'spec 04 §9.5 step 3',
    codes: ['CSV_SERIAL_MISMATCH'],
    protects: 'The claims would name another chip than the report does.',
  },
  {
    name: 'chip-certificates',
    source: 'spec 04 §9.5 step 4',
    codes: ['CSV_CHAIN_UNAVAILABLE'],
    protects: 'Without the chip certificates nothing ties the signing key to Hygon.',
  },
  {
    name: 'chip-certificate-format',
    source: 'spec 04 §9.5 step 5',
    codes: ['CSV_CERT_MALFORMED'],
    protects: 'A key made for another purpose could sign as a CA or as a chip.',
  },
  {
    name: 'pek-format',
    source: 'spec 04 §9.5 step 5',
    codes: ['CSV_CERT_MALFORMED'],
    protects: 'A key made for another purpose, such as the key exchange of the platform, could sign reports.',
  },
  {
    name: 'chip-chain',
    source: 'spec 04 §9.5 step 6',
    codes: ['CSV_CHAIN_INVALID'],
    protects: 'Anyone could make up a chip.',
  },
  {
    name: 'pek-signature',
    source: 'spec 04 §9.5 step 6',
    codes: ['CSV_CHAIN_INVALID'],
    protects: 'Anyone could sign reports in the name of a genuine chip.',
  },
  {
    name: 'report-algorithm',
    source: 'spec 04 §9.5 step 7',
    codes: ['CSV_REPORT_ALGORITHM_UNSUPPORTED'],
    protects:
      'A signature made for another purpose would pass for a report; a careless shift of V1 would, too.',
  },
  {
    name: 'report-signature',
    source: 'spec 04 §9.3, §9.4, §9.5 step 8',
    codes: ['CSV_REPORT_SIGNATURE_INVALID'],
    protects: 'Every field of the report could be invented.',
  },
  {
    name: 'rtmr0',
    source: 'spec 04 §9.5 step 9',
    codes: ['CSV_RTMR0_MISMATCH'],
    protects: 'The registers would belong to another launch than the measurement.',
  },
  {
    name: 'report-data',
    source: 'spec 04 §9.5 step 10, §7.2',
    codes: ['REPORT_DATA_MISMATCH'],
    protects: 'A recorded report could be replayed, or sent for a key that is not in the TEE.',
  },
  {
    name: 'init-data',
    source: 'spec 04 §9.5 step 11',
    codes: ['INIT_DATA_UNSUPPORTED'],
    protects: 'The caller would believe that a configuration is bound, which no CSV report can do.',
  },
  {
    name: 'debug',
    source: 'spec 04 §9.5 step 12',
    codes: ['DEBUG_NOT_ALLOWED'],
    protects: 'The host could read and change the memory of the guest.',
  },
]
