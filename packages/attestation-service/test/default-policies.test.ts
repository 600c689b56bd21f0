import { readdirSync, readFileSync } from 'node:fs'
import {
  encodeBase64,
  encodeUtf8,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
  type Tee,
} from '@passport-kbs/protocol'
import { openStorage } from '@passport-kbs/storage'
import { describe, expect, it } from 'vitest'
import { annotateEvidence } from '../src/annotated-evidence.ts'
import { appraise } from '../src/appraisal.ts'
import { defaultPolicies } from '../src/default-policies.ts'
import { compileAttestationPolicy } from '../src/policy-store.ts'
import { createReferenceValues } from '../src/reference-values.ts'
import { hasVectors, recordedClaims } from './vectors.ts'

const now = new Date('2026-06-01T00:00:00Z')
const compiled = new Map([...defaultPolicies].map(([id, text]) => [id, compileAttestationPolicy(id, text)]))

/** executables, hardware, configuration and status that the default policy of `cls` gives. */
async function appraisal(tee: Tee, claims: JsonObject, values: object = {}, cls = 'cpu') {
  const referenceValues = createReferenceValues(
    (await openStorage({ type: 'Memory' })).namespace('reference_value'),
  )
  const payload = encodeBase64(encodeUtf8(JSON.stringify({ unused: 0, ...values })))
  await referenceValues.register(jsonObject({ type: 'sample', payload }), now)
  const policy = compiled.get(`default_${cls}`)
  if (!policy) throw new Error(`no default policy for ${cls}`)
  const annotated = annotateEvidence(claims, {
    tee,
    initDataClaims: null,
    runtimeDataClaims: null,
    verboseToken: true,
  })
  const context = { referenceValues, now, clock: () => performance.now(), timeLimitMs: 2_000 }
  const result = await appraise(
    annotated,
    { id: 'default', storedId: `default_${cls}`, compiled: policy },
    context,
  )
  const { executables, hardware, configuration } = result.vector
  return {
    vector: [executables, hardware, configuration],
    status: result.status,
    extensions: result.extensions,
  }
}

const json = (text: string): JsonObject => {
  const value = parseJson(text)
  if (!isJsonObject(value)) throw new TypeError('object expected')
  return value
}

/** `claims` with the member at `path` replaced, or removed for undefined. */
function changed(claims: JsonObject, path: string, value: JsonValue | undefined): JsonObject {
  const copy = json(stringifyJson(claims))
  const names = path.split('/')
  const last = names.pop() ?? ''
  let at = copy
  for (const name of names) {
    const next = at[name]
    if (!isJsonObject(next)) throw new TypeError(`no ${name} in ${path}`)
    at = next
  }
  if (!(last in at)) throw new TypeError(`no ${path}`)
  if (value === undefined) delete at[last]
  else at[last] = value
  return copy
}

const without = (values: Record<string, unknown>, name: string) =>
  Object.fromEntries(Object.entries(values).filter(([other]) => other !== name))

describe('the shipped policies', () => {
  it('are embedded as the files have them (scripts/embed-policies.ts)', () => {
    const folder = new URL('../policies/', import.meta.url)
    const files = readdirSync(folder).map((name) => [
      name.replace(/\.rego$/, ''),
      readFileSync(new URL(name, folder), 'utf8'),
    ])
    expect(Object.fromEntries(defaultPolicies)).toEqual(Object.fromEntries(files))
  })

  it('give 33/97/36 for a TEE that they do not know', async () => {
    const { vector, status } = await appraisal('cca', jsonObject({}))
    expect(vector).toEqual([33, 97, 36])
    expect(status).toBe('contraindicated')
  })
})

describe('sample', () => {
  const claims = json(
    '{"svn":"1","launch_digest":"abcde","platform_version":{"major":1,"minor":4},"debug":false,"report_data":""}',
  )
  const values = { launch_digest: ['abcde'], svn: ['1'], major_version: 1, minimum_minor_version: 1 }

  it('is affirming with its reference values and 33/97/2 without', async () => {
    expect(await appraisal('sample', claims, values)).toMatchObject({
      vector: [3, 2, 2],
      status: 'affirming',
    })
    expect((await appraisal('sample', claims)).vector).toEqual([33, 97, 2])
  })

  it.each([
    ['launch_digest', 'abcdf', [33, 2, 2]],
    ['svn', '2', [3, 97, 2]],
    ['svn', 1, [3, 97, 2]],
    ['platform_version/major', 2, [3, 97, 2]],
    ['platform_version/minor', 0, [3, 97, 2]],
    ['platform_version/minor', 'z', [3, 97, 2]],
    ['debug', true, [3, 2, 96]],
    ['debug', 'false', [3, 2, 36]],
  ])('with %s %s is %o', async (path, value, vector) => {
    expect((await appraisal('sample', changed(claims, path, value), values)).vector).toEqual(vector)
  })

  it('needs a minimum minor version that is a number: an unknown one is no minimum of null', async () => {
    expect((await appraisal('sample', claims, without(values, 'minimum_minor_version'))).vector).toEqual([
      3, 97, 2,
    ])
    expect((await appraisal('sample', claims, { ...values, major_version: null })).vector).toEqual([3, 97, 2])
  })
})

describe('identifiers of the workload (spec 02 §2.9)', () => {
  const container = (image: string | undefined, uid: number | undefined) =>
    jsonObject({
      OCI: jsonObject({
        Annotations: jsonObject(image === undefined ? {} : { 'io.kubernetes.cri.image-name': image }),
        Process: jsonObject(uid === undefined ? {} : { User: jsonObject({ UID: uid }) }),
      }),
    })
  const extensions = async (...containers: JsonObject[]) => {
    const referenceValues = createReferenceValues((await openStorage({ type: 'Memory' })).namespace('r'))
    const policy = compiled.get('default_cpu')
    if (!policy) throw new Error('no default policy')
    const annotated = annotateEvidence(jsonObject({ init_data: 'aa' }), {
      tee: 'snp',
      initDataClaims: jsonObject({ agent_policy_claims: jsonObject({ containers }) }),
      runtimeDataClaims: null,
      verboseToken: true,
    })
    const context = { referenceValues, now, clock: () => 0, timeLimitMs: 2_000 }
    const result = await appraise(
      annotated,
      { id: 'default', storedId: 'default_cpu', compiled: policy },
      context,
    )
    return JSON.parse(stringifyJson(result.extensions))['ear.trustee.identifiers']
  }

  it('are the images and users of its containers', async () => {
    expect(
      await extensions(container(undefined, 65535), container('a', 0), container('b', undefined)),
    ).toEqual({
      validated: { container_images: ['a', 'b'], container_uids: [65535, 0] },
    })
  })

  it('are empty where there are none', async () => {
    expect(await extensions()).toEqual({ validated: {} })
    expect(await extensions(container('a', undefined))).toEqual({ validated: { container_images: ['a'] } })
  })
})

describe.skipIf(!hasVectors)('snp, for recorded evidence', () => {
  const claims = hasVectors ? recordedClaims('snp/evidence-genoa-v3.claims.json') : jsonObject({})
  const values = {
    snp_launch_measurement: [claims.measurement],
    snp_bootloader: [10],
    snp_microcode: [25],
    snp_snp_svn: [23],
    snp_tee_svn: [0],
    snp_smt_enabled: true,
    snp_tsme_enabled: false,
    snp_guest_abi_major: 0,
    snp_guest_abi_minor: 0,
    snp_single_socket: false,
    snp_smt_allowed: true,
  }

  it('is affirming with all reference values, and 33/97/3 with none', async () => {
    expect(await appraisal('snp', claims, values)).toMatchObject({ vector: [3, 2, 2], status: 'affirming' })
    expect(await appraisal('snp', claims)).toMatchObject({ vector: [33, 97, 3], status: 'contraindicated' })
  })

  it.each(Object.keys(values))('is less without %s', async (name) => {
    const { vector } = await appraisal('snp', claims, without(values, name))
    const lesser =
      name === 'snp_launch_measurement'
        ? [33, 2, 2]
        : /bootloader|microcode|svn/.test(name)
          ? [3, 97, 2]
          : [3, 2, 3]
    expect(vector).toEqual(lesser)
  })

  it('is contraindicated when debuggable, and not affirmed when it may migrate', async () => {
    expect(await appraisal('snp', changed(claims, 'policy_debug_allowed', true), values)).toMatchObject({
      vector: [3, 2, 96],
      status: 'contraindicated',
    })
    expect((await appraisal('snp', changed(claims, 'policy_migrate_ma', true), values)).vector).toEqual([
      3, 2, 36,
    ])
    expect(
      (await appraisal('snp', changed(claims, 'policy_debug_allowed', undefined), values)).vector,
    ).toEqual([3, 2, 36])
  })
})

describe.skipIf(!hasVectors)('az-snp-vtpm, for recorded evidence', () => {
  const claims = hasVectors ? recordedClaims('az-snp-vtpm/evidence-genoa.claims.json') : jsonObject({})
  const values = {
    measurement: [claims.measurement],
    snp_pcr11: ['0'.repeat(64)],
    tcb_bootloader: ['10'],
    tcb_microcode: ['84'],
    tcb_snp: ['23'],
    tcb_tee: ['0'],
    smt_enabled: ['false'],
    tsme_enabled: ['false'],
    abi_major: ['0'],
    abi_minor: ['31'],
    single_socket: ['false'],
    smt_allowed: ['true'],
  }

  it('is affirming with all reference values, which are strings', async () => {
    expect(await appraisal('az-snp-vtpm', claims, values)).toMatchObject({
      vector: [3, 2, 2],
      status: 'affirming',
    })
    expect((await appraisal('az-snp-vtpm', claims)).vector).toEqual([33, 97, 36])
    expect((await appraisal('az-snp-vtpm', claims, { ...values, tcb_snp: [23] })).vector).toEqual([3, 97, 2])
  })

  it.each(Object.keys(values))('is less without %s', async (name) => {
    const { status } = await appraisal('az-snp-vtpm', claims, without(values, name))
    expect(status).not.toBe('affirming')
  })

  it.each(['true', true])('is contraindicated when debuggable: %o', async (debug) => {
    const { vector } = await appraisal('az-snp-vtpm', changed(claims, 'policy_debug_allowed', debug), values)
    expect(vector).toEqual([3, 2, 96])
  })

  it('is not affirmed when it may migrate, which Trustee does not look at', async () => {
    const { vector } = await appraisal('az-snp-vtpm', changed(claims, 'policy_migrate_ma', 'true'), values)
    expect(vector).toEqual([3, 2, 36])
  })
})

describe.skipIf(!hasVectors)('tdx, for recorded evidence', () => {
  const claims = hasVectors ? recordedClaims('tdx/claims/cos113-ccel.claims.json') : jsonObject({})
  const body = (name: string) => {
    const { quote } = claims
    const { body: found } = isJsonObject(quote) ? quote : {}
    return isJsonObject(found) ? found[name] : undefined
  }
  const values = {
    rtmr_1: [body('rtmr_1')],
    rtmr_2: [body('rtmr_2')],
    mr_td: [body('mr_td')],
    xfam: [body('xfam')],
  }
  const digest = 'ab'.repeat(48)
  const event = (changes: object = {}): JsonValue =>
    json(
      JSON.stringify({
        index: 2,
        type_name: 'EV_EFI_BOOT_SERVICES_APPLICATION',
        details: { device_paths: ['VenMedia(x)', 'File(kernel)'] },
        digests: [{ alg: 'SHA-384', digest }],
        ...changes,
      }),
    )
  const parameters = (changes: object = {}): JsonValue =>
    event({
      index: 3,
      type_name: 'EV_EVENT_TAG',
      details: { string: 'LOADED_IMAGE::LoadOptions' },
      ...changes,
    })
  const withEvents = (...events: JsonValue[]) => changed(claims, 'uefi_event_logs', events)
  const direct = { ...values, tdvfkernel: digest, tdvfkernelparams: digest }

  it('that booted with Grub is affirming with its registers, and 33/97/36 with none', async () => {
    expect(await appraisal('tdx', claims, values)).toMatchObject({ vector: [4, 2, 2], status: 'affirming' })
    expect((await appraisal('tdx', claims)).vector).toEqual([33, 97, 36])
  })

  it('that booted a recognised kernel with recognised parameters is approved at boot', async () => {
    expect((await appraisal('tdx', withEvents(event(), parameters()), direct)).vector).toEqual([3, 2, 2])
    expect((await appraisal('tdx', withEvents(event()), direct)).vector).toEqual([4, 2, 2])
    expect((await appraisal('tdx', withEvents(parameters()), direct)).vector).toEqual([4, 2, 2])
  })

  it.each<[string, JsonValue]>([
    ['an entry outside the registers that the quote covers', event({ index: 0 })],
    ['an entry of a register that the guest extends at run time', event({ index: 4 })],
    ['a digest of another algorithm', event({ digests: [{ alg: 'SHA-256', digest }] })],
    ['another type', event({ type_name: 'EV_IPL' })],
    ['another file', event({ details: { device_paths: ['File(kernel2)'] } })],
    ['no digest', event({ digests: [] })],
  ])('does not take for a kernel %s (spec 02 W-37)', async (_, kernel) => {
    expect((await appraisal('tdx', withEvents(kernel, parameters()), direct)).vector).toEqual([4, 2, 2])
  })

  it('is less when a claim differs', async () => {
    const vectorOf = async (path: string, value: JsonValue) =>
      (await appraisal('tdx', changed(claims, path, value), values)).vector
    expect(await vectorOf('tcb_status', 'SWHardeningNeeded')).toEqual([4, 97, 2])
    expect(await vectorOf('collateral_expiration_status', '1')).toEqual([4, 97, 2])
    expect(await vectorOf('quote/header/tee_type', '00000000')).toEqual([4, 97, 2])
    expect(await vectorOf('quote/header/vendor_id', '00')).toEqual([4, 97, 2])
    expect(await vectorOf('quote/body/mr_td', '00')).toEqual([4, 97, 2])
    expect(await vectorOf('quote/body/rtmr_1', '00')).toEqual([33, 2, 2])
    expect(await vectorOf('quote/body/rtmr_2', '00')).toEqual([33, 2, 2])
    expect(await vectorOf('quote/body/xfam', '00')).toEqual([4, 2, 36])
    expect(await vectorOf('td_attributes/debug', true)).toEqual([4, 2, 96])
  })

  it('that is debuggable is contraindicated whatever the reference values', async () => {
    const debuggable = recordedClaims('tdx/claims/quote4.claims.json')
    expect(await appraisal('tdx', debuggable)).toMatchObject({
      vector: [33, 97, 96],
      status: 'contraindicated',
    })
  })
})

describe.skipIf(!hasVectors)('az-tdx-vtpm, for recorded evidence', () => {
  const claims = hasVectors
    ? jsonObject({
        ...recordedClaims('az-tdx-vtpm/evidence-v1.claims-without-dcap.json'),
        tcb_status: 'UpToDate',
        collateral_expiration_status: '0',
      })
    : jsonObject({})
  const { mr_td: mrTd, xfam } = hasVectors
    ? ((claims.quote as JsonObject).body as JsonObject)
    : jsonObject({ mr_td: '', xfam: '' })
  const values = { tdx_pcr11: ['0'.repeat(64)], mr_td: [mrTd], xfam: [xfam] }

  it('is affirming with all reference values', async () => {
    expect(await appraisal('az-tdx-vtpm', claims, values)).toMatchObject({
      vector: [3, 2, 2],
      status: 'affirming',
    })
    expect((await appraisal('az-tdx-vtpm', claims)).vector).toEqual([33, 97, 36])
  })

  it.each<[string, JsonValue, number[]]>([
    ['td_attributes/debug', true, [3, 2, 96]],
    ['td_attributes/debug', 'true', [3, 2, 96]],
    ['collateral_expiration_status', '1', [3, 97, 2]],
    ['tcb_status', 'OutOfDate', [3, 97, 2]],
    ['tpm/pcr11', '11', [33, 2, 2]],
    ['quote/body/xfam', '11', [3, 2, 36]],
  ])('with %s %s is %o', async (path, value, vector) => {
    expect((await appraisal('az-tdx-vtpm', changed(claims, path, value), values)).vector).toEqual(vector)
  })
})

describe.skipIf(!hasVectors)('sgx, for recorded evidence', () => {
  const claims = hasVectors
    ? changed(recordedClaims('sgx/claims/syn-v3-platform.claims.json'), 'tcb_status', 'UpToDate')
    : jsonObject({})
  const { mr_enclave: mrEnclave, mr_signer: mrSigner } = hasVectors
    ? (claims.body as JsonObject)
    : jsonObject({})
  const values = { sgx_mr_enclave: [mrEnclave], sgx_xfrm: ['e700000000000000'] }
  const signed = { sgx_mr_signer: [mrSigner], sgx_isv_prod_id: ['0300'], sgx_isv_svn: ['0200'] }

  it('is affirming by its measurement, or by signer, product and version', async () => {
    expect(await appraisal('sgx', claims, values)).toMatchObject({ vector: [3, 2, 2], status: 'affirming' })
    expect((await appraisal('sgx', claims, signed)).vector).toEqual([3, 2, 3])
    expect((await appraisal('sgx', claims, { ...signed, ...values })).vector).toEqual([3, 2, 2])
    expect((await appraisal('sgx', claims)).vector).toEqual([33, 2, 3])
  })

  it.each(Object.keys(signed))('is not recognised by its signer without %s', async (name) => {
    expect((await appraisal('sgx', claims, without(signed, name))).vector).toEqual([33, 2, 3])
  })

  it.each([
    ['SWHardeningNeeded', 32],
    ['ConfigurationNeeded', 32],
    ['ConfigurationAndSWHardeningNeeded', 32],
    ['OutOfDate', 97],
    ['Revoked', 97],
  ])('on hardware that is %s is %i', async (status, hardware) => {
    expect((await appraisal('sgx', changed(claims, 'tcb_status', status), values)).vector).toEqual([
      3,
      hardware,
      2,
    ])
  })

  it('is not genuine with expired collateral or another vendor', async () => {
    expect(
      (await appraisal('sgx', changed(claims, 'collateral_expiration_status', '1'), values)).vector,
    ).toEqual([3, 97, 2])
    expect((await appraisal('sgx', changed(claims, 'header/vendor_id', '00'), values)).vector).toEqual([
      3, 97, 2,
    ])
  })

  it('that is debuggable is contraindicated, for every nibble with that bit', async () => {
    for (let nibble = 0; nibble < 16; nibble++) {
      const flags = `0${nibble.toString(16)}00000000000000`
      const { vector } = await appraisal('sgx', changed(claims, 'body/attributes.flags', flags), values)
      expect(vector).toEqual([3, 2, (nibble & 2) === 0 ? 2 : 96])
    }
    expect((await appraisal('sgx', recordedClaims('sgx/claims/occlum.claims.json'))).vector[2]).toBe(96)
  })
})

describe.skipIf(!hasVectors)('csv, for recorded evidence', () => {
  const v2 = hasVectors ? recordedClaims('csv/claims/syn-v2.claims.json') : jsonObject({})
  const v1 = hasVectors ? recordedClaims('csv/claims/v1.claims.json') : jsonObject({})
  const policy = {
    csv_policy_noks: [0],
    csv_policy_es: [0, 1],
    csv_policy_nosend: [0],
    csv_policy_csv3: [0, 1],
  }
  const values = { csv_measure: [v2.measure], csv_build: [2400], ...policy }

  it('of version 2 is affirming with all reference values, and 33/97/36 with none', async () => {
    expect(await appraisal('csv', v2, values)).toMatchObject({ vector: [3, 2, 2], status: 'affirming' })
    expect((await appraisal('csv', v2)).vector).toEqual([33, 97, 36])
    expect((await appraisal('csv', changed(v2, 'policy/nosend', 1))).vector).toEqual([33, 97, 3])
  })

  it('of version 1 counts only where the operator lists the version and the measurement', async () => {
    const measured = { csv_measure: [v1.measure], ...policy }
    expect((await appraisal('csv', v1, { ...measured, csv_report_version: ['1'] })).vector).toEqual([3, 2, 2])
    expect((await appraisal('csv', v1, measured)).vector).toEqual([3, 97, 2])
    expect((await appraisal('csv', v1, { ...policy, csv_report_version: ['1'] })).vector).toEqual([
      33, 97, 36,
    ])
  })

  it('of version 1 that was shifted as a whole is not affirmed in anything (spec 04 §9.7)', async () => {
    const shifted = recordedClaims('csv/claims/v1-anonce-shift.claims.json')
    const { vector } = await appraisal('csv', shifted, {
      csv_measure: [v1.measure],
      csv_report_version: ['1'],
      ...policy,
    })
    expect(vector.slice(0, 2)).toEqual([33, 97])
    expect([36, 96]).toContain(vector[2])
  })

  it('that is debuggable is contraindicated', async () => {
    const debuggable = recordedClaims('csv/claims/syn-v2-debug.claims.json')
    expect((await appraisal('csv', debuggable, values)).vector[2]).toBe(96)
  })
})

describe.skipIf(!hasVectors)('tpm, for recorded evidence', () => {
  const claims = hasVectors ? recordedClaims('tpm/tpm_evidence.claims.json') : jsonObject({})
  const values = { tpm_pcr11: ['0'.repeat(64)], trusted_aks: [claims.ak_public] }

  it('is affirming with a trusted key, and 33/97/0 without', async () => {
    expect(await appraisal('tpm', claims, values)).toMatchObject({ vector: [3, 2, 0], status: 'affirming' })
    expect((await appraisal('tpm', claims, without(values, 'trusted_aks'))).vector).toEqual([33, 97, 0])
    expect((await appraisal('tpm', claims, without(values, 'tpm_pcr11'))).vector).toEqual([33, 2, 0])
  })
})

describe('se', () => {
  it('is affirming: its verifier decides', async () => {
    expect(await appraisal('se', json('{"tag":"aa"}'))).toMatchObject({
      vector: [3, 2, 2],
      status: 'affirming',
    })
  })
})

describe('devices', () => {
  const chain = { 'x-nvidia-cert-ocsp-status': 'good', 'x-nvidia-cert-status': 'valid' }
  const rim = (prefix: string) =>
    Object.fromEntries(
      ['fetched', 'measurements-available', 'schema-validated', 'signature-verified', 'version-match'].map(
        (name) => [`x-nvidia-${prefix}-rim-${name}`, true],
      ),
    )
  const device = (kind: string) => ({
    [`x-nvidia-${kind}-attestation-report-cert-chain`]: chain,
    [`x-nvidia-${kind}-attestation-report-cert-chain-fwid-match`]: true,
    [`x-nvidia-${kind}-attestation-report-parsed`]: true,
    [`x-nvidia-${kind}-attestation-report-signature-verified`]: true,
    [`x-nvidia-${kind}-arch-check`]: true,
    secboot: true,
    dbgstat: 'disabled',
    measres: 'success',
  })
  const gpu = json(
    JSON.stringify({
      ...device('gpu'),
      'x-nvidia-gpu-vbios-version': '96',
      'x-nvidia-gpu-driver-version': '570',
      'x-nvidia-gpu-vbios-rim-cert-chain': chain,
      ...rim('gpu-driver'),
      ...rim('gpu-vbios'),
    }),
  )
  const bridge = json(
    JSON.stringify({
      ...device('switch'),
      'x-nvidia-switch-bios-version': '1',
      'x-nvidia-switch-bios-rim-cert-chain': chain,
      ...rim('switch-bios'),
    }),
  )

  it('of class gpu are affirming with NVIDIA’s claims', async () => {
    const values = { allowed_vbios_versions: ['96'], allowed_driver_versions: ['570'] }
    expect(await appraisal('nvidia', gpu, values, 'gpu')).toMatchObject({
      vector: [3, 2, 2],
      status: 'affirming',
    })
    expect((await appraisal('nvidia', gpu, {}, 'gpu')).vector).toEqual([3, 2, 3])
    expect((await appraisal('nvidia', changed(gpu, 'dbgstat', 'enabled'), values, 'gpu')).vector).toEqual([
      3, 2, 96,
    ])
    expect((await appraisal('nvidia', jsonObject({}), values, 'gpu')).vector).toEqual([33, 97, 36])
  })

  it.each(Object.keys(gpu).filter((name) => typeof gpu[name] === 'boolean'))(
    'of class gpu need %s',
    async (name) => {
      expect((await appraisal('nvidia', changed(gpu, name, false), {}, 'gpu')).vector).not.toEqual([3, 2, 3])
    },
  )

  it('of class switch are affirming with NVIDIA’s claims', async () => {
    const values = { allowed_switch_bios_versions: ['1'] }
    expect(await appraisal('nvidia', bridge, values, 'switch')).toMatchObject({ vector: [3, 2, 2] })
    expect((await appraisal('nvidia', bridge, {}, 'switch')).vector).toEqual([3, 2, 3])
    expect((await appraisal('nvidia', jsonObject({}), values, 'switch')).vector).toEqual([33, 97, 36])
  })

  it.each(Object.keys(bridge).filter((name) => typeof bridge[name] === 'boolean'))(
    'of class switch need %s',
    async (name) => {
      expect((await appraisal('nvidia', changed(bridge, name, false), {}, 'switch')).vector).not.toEqual([
        3, 2, 3,
      ])
    },
  )

  it('of class ppcie are eight GPUs and four switches', async () => {
    expect((await appraisal('nvidia', json('{"switch_count":4,"gpu_count":8}'), {}, 'ppcie')).vector).toEqual(
      [0, 0, 2],
    )
    expect((await appraisal('nvidia', json('{"switch_count":4,"gpu_count":7}'), {}, 'ppcie')).vector).toEqual(
      [0, 0, 36],
    )
  })

  it('of the sample kind are recognised and never affirmed as a whole', async () => {
    const { vector, status } = await appraisal(
      'sampledevice',
      json('{"svn":"2"}'),
      { device_svn: ['2'] },
      'gpu',
    )
    expect(vector).toEqual([33, 2, 36])
    expect(status).toBe('warning')
  })
})

describe.skipIf(!hasVectors)('every claim that a default policy names', () => {
  const recorded: Record<string, readonly string[]> = {
    snp: ['snp/evidence-genoa-v3.claims.json'],
    'az-snp-vtpm': ['az-snp-vtpm/evidence-genoa.claims.json'],
    tdx: ['tdx/claims/cos113-ccel.claims.json'],
    // its DCAP claims are those of the quote that it holds
    'az-tdx-vtpm': ['az-tdx-vtpm/evidence-v1.claims-without-dcap.json', 'tdx/claims/azure.claims.json'],
    sgx: ['sgx/claims/syn-v3-platform.claims.json'],
    csv: ['csv/claims/syn-v2.claims.json', 'csv/claims/v1.claims.json'],
    tpm: ['tpm/tpm_evidence.claims.json'],
  }
  /** No evidence of these was recorded: their claims are in the specification only. */
  const unrecorded = ['sample', 'sampledevice', 'nvidia', 'se', 'init_data_claims']
  const references = [...defaultPolicies.values()].flatMap((text) =>
    [...text.replaceAll(/^\s*#.*$/gm, '').matchAll(/\binput((?:\.[a-zA-Z_]\w*|\["[^"]+"\])+)/g)].map(
      ([, path = '']) =>
        [...path.matchAll(/\.(\w+)|\["([^"]+)"\]/g)].map(([, name, quoted]) => name ?? quoted ?? ''),
    ),
  )
  const paths = new Map(references.map((path) => [path.join('/'), path]))

  it('is found', () => {
    expect(paths.size).toBeGreaterThan(60)
  })

  it.each(
    [...paths.values()]
      .filter(([tee = '']) => !unrecorded.includes(tee))
      .map((path) => [path.join('/'), path]),
  )('is in recorded claims: %s', (_, path) => {
    const [tee = '', ...names] = path
    const found = recorded[tee]?.some((file) => {
      let at: JsonValue | undefined = recordedClaims(file)
      for (const name of names) at = isJsonObject(at) ? at[name] : undefined
      return at !== undefined
    })
    expect(found).toBe(true)
  })
})
