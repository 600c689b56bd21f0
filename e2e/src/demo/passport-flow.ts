import { createHash, randomBytes } from 'node:crypto'
import {
  type Attester,
  createGuest,
  getResourceWithPassport,
  type Passport,
} from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { isJsonObject, type JsonObject, jsonObject, parseJson, resolvePointer } from '@passport-kbs/protocol'
import { createVirtualAzureSnpVm, type VirtualAzureSnpVm } from '@passport-kbs/testing'
import { administratorOf } from './admin.ts'
import { DemoFailure, type Narrator } from './narrator.ts'
import { openTrustee1, openTrustee2, type Trustee, type Trustee1 } from './organisations.ts'

/** Who takes part. */
export interface Scene {
  readonly trustee1: Trustee1
  readonly trustee2: Trustee
  readonly vm: VirtualAzureSnpVm
  readonly secret: Uint8Array
}

export const secretPath = 'default/database/key'

/** Both Trustees running, each with its own administrator, keys and store; Trustee 2 has Trustee 1's published keys. */
export async function setUpTrustees(narrator: Narrator, open: Trustee[]): Promise<Scene> {
  const vm = createVirtualAzureSnpVm({ generation: 'Turin' })
  const secret = randomBytes(32)

  narrator.step('Trustee 1 starts KBS1 (kbs-attest): it will verify evidence and mint passports')
  const trustee1 = await openTrustee1({ Turin: vm.roots.Turin })
  open.push(trustee1)
  const keys = await (await fetch(`${trustee1.url}/.well-known/jwks.json`)).text()
  narrator.note(`${trustee1.url}, with a signing key it has just made; public half at /.well-known/jwks.json`)

  narrator.step(
    'Trustee 2 starts KBS2 (kbs-resource) with these published keys, and nothing else of Trustee 1',
  )
  const trustee2 = await openTrustee2(keys)
  open.push(trustee2)
  narrator.note(`${trustee2.url}, store in files, policy: deny everything until told otherwise`)

  narrator.step("Trustee 2's administrator stores a secret, and allows guests that were found affirming")
  await administratorOf(trustee2).setResource(secretPath, secret)
  await administratorOf(trustee2).setResourcePolicy(presets.affirming)
  narrator.note(`secret ${secretPath}: 32 random bytes, SHA-256 ${fingerprint(secret)}`)

  narrator.step('A virtual Azure confidential VM attests; nobody has said yet that it is good')
  const unknown = await createGuest({ kbsUrl: trustee1.url, attester: attesterOf(vm) }).attestOnce()
  const claims = payloadOf(unknown.token)
  const status = resolvePointer(claims, '/submods/cpu0/ear.status')
  narrator.check(status === 'contraindicated', `its evidence is genuine, and it is found ${String(status)}`)

  narrator.step("Trustee 1's administrator looks at its claims and registers them as reference values")
  const evidence = resolvePointer(claims, '/submods/cpu0/ear.veraison.annotated-evidence/az-snp-vtpm')
  if (!isJsonObject(evidence)) throw new DemoFailure('the passport says what was verified')
  await administratorOf(trustee1).setReferenceValues(referenceValues(evidence))
  narrator.note('measurement, PCR 11, firmware versions and configuration of that machine')
  return { trustee1, trustee2, vm, secret }
}

/** The vTPM and the paravisor of the virtual machine, as the attestation agent sees them. */
export function attesterOf(
  vm: VirtualAzureSnpVm,
  defect?: Parameters<VirtualAzureSnpVm['evidence']>[0]['defect'],
) {
  return {
    tee: 'az-snp-vtpm',
    evidence: async (reportData: Uint8Array) => vm.evidence({ reportData, ...(defect ? { defect } : {}) }),
  } satisfies Attester
}

export async function guestEarnsPassport(narrator: Narrator, { trustee1, vm }: Scene): Promise<Passport> {
  narrator.step('The guest makes a TEE key, asks KBS1 for a nonce, and has its hardware sign both')
  const guest = createGuest({ kbsUrl: trustee1.url, attester: attesterOf(vm) })
  const passport = await guest.attestOnce()
  const claims = payloadOf(passport.token)
  const submod = resolvePointer(claims, '/submods/cpu0')
  if (!isJsonObject(submod)) throw new DemoFailure('the passport speaks of cpu0')
  narrator.note('evidence: HCL report, SEV-SNP report signed by the chip, vTPM quote over the nonce')
  narrator.check(
    submod['ear.status'] === 'affirming',
    `KBS1 verified it and found it ${String(submod['ear.status'])}`,
  )
  const vector = submod['ear.trustworthiness-vector']
  if (isJsonObject(vector)) {
    narrator.note(
      `executables ${vector.executables}, hardware ${vector.hardware}, configuration ${vector.configuration} (AR4SI)`,
    )
  }
  narrator.note(
    `the passport: iss ${String(claims.iss)}, aud ${String(claims.aud)}, jti ${String(claims.jti)}`,
  )
  narrator.check(
    claims['passport-kbs.profile'] === 'development',
    'it is marked: minted in the development profile',
  )
  return passport
}

export async function guestReadsSecret(narrator: Narrator, scene: Scene, passport: Passport): Promise<void> {
  narrator.step('The guest shows the passport to KBS2')
  const secret = await getResourceWithPassport({ kbsUrl: scene.trustee2.url, ...passport, path: secretPath })
  narrator.note(
    'KBS2 verified the passport, asked its policy, and encrypted the secret to the TEE key in the passport',
  )
  narrator.check(
    Buffer.compare(secret, scene.secret) === 0,
    `the guest decrypted it: SHA-256 ${fingerprint(secret)}`,
  )
}

/** The payload of a token, not verified: for showing it. */
export function payloadOf(token: string): JsonObject {
  const payload = parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url'))
  if (!isJsonObject(payload)) throw new DemoFailure('a token has a payload')
  return payload
}

/** Reference values under which exactly this guest is affirming, from claims that it is known to have. */
export function referenceValues(claims: JsonObject): JsonObject {
  const one = (name: string) => [claims[name] ?? null]
  return jsonObject({
    measurement: one('measurement'),
    snp_pcr11: [resolvePointer(claims, '/tpm/pcr11') ?? null],
    tcb_bootloader: one('reported_tcb_bootloader'),
    tcb_microcode: one('reported_tcb_microcode'),
    tcb_snp: one('reported_tcb_snp'),
    tcb_tee: one('reported_tcb_tee'),
    smt_enabled: one('platform_smt_enabled'),
    tsme_enabled: one('platform_tsme_enabled'),
    abi_major: one('policy_abi_major'),
    abi_minor: one('policy_abi_minor'),
    single_socket: one('policy_single_socket'),
    smt_allowed: one('policy_smt_allowed'),
  })
}

function fingerprint(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}
