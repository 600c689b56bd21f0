/** The ways in which a back end fails, in the words of the table. */
export const faults = [
  // it is not there
  'down',
  'slow',
  'trickling',
  // it is somebody else
  'unknown CA',
  'wrong name',
  'expired certificate',
  // it does not want us
  'expired credential',
  'quota',
  'quota with Retry-After',
  // what it says is no answer
  'no format',
  'wrong shape',
  'huge answer',
  'truncated answer',
  'web page',
  'redirect',
  // the disk
  'read-only',
  'full disk',
  'corrupt',
  'no permission',
] as const

export type Fault = (typeof faults)[number]

/** What a fault looks like from outside. */
export interface Expectation {
  /** What a guest is answered, or an administrator who writes where `on` says so. Default 503 `ServiceUnavailable`. */
  readonly status?: number
  readonly kind?: string
  /** What the guest may know beyond the kind; default: nothing. */
  readonly reason?: RegExp
  /** The cause in the operator's log, on the line that has the answer's request id. */
  readonly log: RegExp
  /** `/readyz` meanwhile. */
  readonly ready: 200 | 503
  /** Guests read on; only writing fails. */
  readonly on?: 'write'
}

/** For every fault what is expected of it, or why it cannot happen. */
export type Expectations = Readonly<Record<Fault, Expectation | string>>

/** Ends a fault. */
export type Mend = () => Promise<void>

/** Why faults of a disk are none of a back end that is reached over the network. */
export const noDiskOfOurs = {
  'read-only': 'no disk of ours: the server’s own faults come as its answers',
  'full disk': 'no disk of ours: the server’s own faults come as its answers',
  corrupt: 'no disk of ours: "no format" and "wrong shape" are its answers',
  'no permission': 'no disk of ours: "expired credential" is its refusal',
} as const satisfies Partial<Expectations>

/** Why faults of a network are none of a folder. */
export const noNetwork = {
  slow: 'no network; a file system that hangs stops any process',
  trickling: 'no network',
  'unknown CA': 'no network, no certificate',
  'wrong name': 'no network, no certificate',
  'expired certificate': 'no network, no certificate',
  'expired credential': 'no credential; "no permission" is the system’s refusal',
  'quota with Retry-After': 'no HTTP',
  'web page': 'no HTTP',
  redirect: 'no HTTP; links are tested with directory-secrets.test.ts',
} as const satisfies Partial<Expectations>
