import { randomUUID } from 'node:crypto'
import type { Evaluation } from './attestation-service.ts'
import { earPayload, type TokenProfile } from './ear.ts'
import type { Submod } from './submods.ts'
import { createTokenSigner, type TokenSigner, type TokenSignerOptions } from './token-signer.ts'

/** What passports say and who signs them (spec 02 §3.5). */
export interface TokenBrokerOptions {
  /** Lifetime of a token in minutes, 1 to 10 080. Default 5. */
  readonly durationMin?: number | undefined
  readonly issuerName?: string | undefined
  readonly developerName?: string | undefined
  readonly buildName?: string | undefined
  readonly profileName?: string | undefined
  /** False: `additional-evidence` is kept from policies and tokens. Default true. */
  readonly verboseToken?: boolean | undefined
  readonly audience?: string | readonly string[] | undefined
  /** A signer, or where its key is. Default: a key for the life of this process. */
  readonly signer?: TokenSigner | TokenSignerOptions | undefined
}

/** A submod for an audit line. */
export type MintedSubmod = Evaluation['submods'][number] & { readonly passedChecks: readonly string[] }

export type MintedToken = Omit<Evaluation, 'submods'> & { readonly submods: readonly MintedSubmod[] }

/** Turns appraisals into signed tokens. */
export interface TokenBroker {
  readonly issuer: string
  readonly signer: TokenSigner
  mint(submods: readonly Submod[], now: Date): Promise<MintedToken>
}

/** What a broker takes from its surroundings. */
export interface TokenBrokerContext {
  readonly development: boolean
  readonly now: () => Date
  readonly onNotice: (notice: string, cause?: unknown) => void
}

/** @throws SigningKeyError, RangeError for a setting out of its range. */
export async function openTokenBroker(
  options: TokenBrokerOptions,
  context: TokenBrokerContext,
): Promise<TokenBroker> {
  const profile = tokenProfile(options, context.development)
  const signer = await openSigner(options.signer, profile, context)
  return {
    issuer: profile.issuerName,
    signer,
    mint: async (submods, now) => {
      const jti = randomUUID()
      const payload = earPayload(submods, profile, { now, jti })
      const token = await signer.sign(payload)
      const expiresAt = new Date((Math.floor(now.getTime() / 1000) + profile.durationSeconds) * 1000)
      return { token, jti, expiresAt, submods: submods.map(mintedSubmod) }
    },
  }
}

function mintedSubmod({ name, tee, appraisal, passedChecks }: Submod): MintedSubmod {
  const { status, policy } = appraisal
  return { name, tee, status, policyId: policy.id, policySha384: policy.sha384, passedChecks }
}

function tokenProfile(options: TokenBrokerOptions, development: boolean): TokenProfile {
  const durationMin = options.durationMin ?? 5
  if (!Number.isInteger(durationMin) || durationMin < 1 || durationMin > 10_080) {
    throw new RangeError('the lifetime of a token is 1 to 10080 minutes')
  }
  return {
    durationSeconds: durationMin * 60,
    issuerName: nonEmpty('issuer name', options.issuerName ?? 'CoCo-Attestation-Service'),
    developerName: nonEmpty('developer name', options.developerName ?? 'https://confidentialcontainers.org'),
    buildName: nonEmpty('build name', options.buildName ?? 'attestation-service 0.1.0'),
    profileName: nonEmpty(
      'profile name',
      options.profileName ?? 'tag:github.com,2024:confidential-containers/Trustee',
    ),
    audience: options.audience,
    development,
  }
}

function nonEmpty(name: string, text: string): string {
  if (text === '') throw new RangeError(`the ${name} of tokens is empty`)
  return text
}

async function openSigner(
  signer: TokenBrokerOptions['signer'],
  { durationSeconds }: TokenProfile,
  { now, onNotice }: TokenBrokerContext,
): Promise<TokenSigner> {
  if (signer && 'sign' in signer) return signer
  // an hour more than the tokens live, for clocks and caches
  const retainSeconds = Math.max(signer?.retainSeconds ?? 86_400, durationSeconds + 3_600)
  return await createTokenSigner({ now, onNotice, ...signer, retainSeconds })
}
