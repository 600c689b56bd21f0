import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { dirname, join } from 'node:path'
import { type Attester, createGuest, type Fetch, sampleAttester } from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import type { JsonValue } from '@passport-kbs/protocol'
import {
  createVirtualHygonChip,
  createVirtualHygonRoot,
  createVirtualIntel,
  createVirtualSnpMachine,
  pem,
  startFakeKds,
  startVirtualPcs,
  tdEvidence,
  type VirtualHygonChip,
  type VirtualSnpMachine,
} from '@passport-kbs/testing'
import { startFakeIntelTrustAuthority } from '@passport-kbs/testing/intel-trust-authority'
import { administer } from '../administration.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../organisation.ts'
import type { Program, ProgramOptions } from '../program.ts'
import { plainHttp } from '../trustees.ts'
import { rootFiles } from '../virtual-tees.ts'
import type { BackEnd, OpenBackEnd } from './back-end.ts'
import { type Expectation, noDiskOfOurs, noNetwork } from './faults.ts'
import { startGrpcBackEnd } from './grpc-back-end.ts'
import { diskFaultsAvailable, withoutPrivileges } from './privileges.ts'
import { startWebBackEnd } from './web-back-end.ts'

const path = 'default/key/one'

const remote = (log: RegExp, ready: 200 | 503 = 503): Expectation => ({ log, ready })

const grpc: BackEnd<undefined> = {
  name: 'attestation service over gRPC, bearer token',
  choice: 'coco_as_grpc',
  expectations: {
    down: remote(/cannot be reached: UNAVAILABLE.*ECONNREFUSED/),
    slow: remote(/did not answer in time: DEADLINE_EXCEEDED/),
    trickling: remote(/did not answer in time: DEADLINE_EXCEEDED/),
    'unknown CA': remote(/cannot be reached: UNAVAILABLE.*(certificate|signature)/),
    'wrong name': remote(/cannot be reached: UNAVAILABLE.*altnames/),
    'expired certificate': remote(/cannot be reached: UNAVAILABLE.*certificate has expired/),
    // anybody may ask for its health
    'expired credential': remote(/does not let this KBS do that: UNAUTHENTICATED/, 200),
    quota: remote(/has too much to do: RESOURCE_EXHAUSTED/),
    'quota with Retry-After': 'no such header in gRPC',
    'no format': remote(/failed: INTERNAL/),
    'wrong shape': remote(/answers what is no EAR token/),
    'huge answer': remote(/failed: INTERNAL: what was answered is too large/),
    'truncated answer': remote(/(cannot be reached: UNAVAILABLE|failed: INTERNAL)/),
    'web page': remote(/failed: (UNKNOWN|INTERNAL)/),
    redirect: remote(/failed: UNKNOWN/),
    ...noDiskOfOurs,
  },
  async open() {
    const organisation = await createOrganisation('trustee-1')
    const token = () => `as-${randomBytes(32).toString('base64url')}`
    const first = token()
    const service = await organisation.start('attestation-service', {
      profile: 'development',
      http_server: plainHttp,
      attestation_api: {
        grpc_sockets: ['127.0.0.1:0'],
        clients: [
          {
            name: 'kbs',
            token_file: await organisation.write('service.token', first),
            scopes: ['attest', 'administer'],
          },
        ],
        anonymous: [],
      },
    })
    const listening = await service.logged((line) => Array.isArray(line.grpc))
    const server = await startGrpcBackEnd(Number(new URL(String((listening.grpc as string[])[0])).port))
    const kbs = await startKbs(organisation, {
      profile: 'development',
      attestation_service: {
        type: 'coco_as_grpc',
        as_addr: server.front.url,
        ca: await organisation.write('as-ca.pem', server.front.ca.pem),
        token_file: await organisation.write('kbs.token', first),
        jwk_set_uri: `${service.url}/.well-known/jwks.json`,
        request_timeout_ms: 1_500,
      },
    })
    return {
      ...asking(kbs, () => sampleAttester()),
      confidential: [first],
      async begin(fault) {
        if (fault !== 'expired credential') return server.begin(fault)
        const next = token()
        await organisation.write('service.token', next)
        // the service looks at its file again
        await untilRefused(kbs, sampleAttester())
        return async () => void (await organisation.write('kbs.token', next))
      },
      strayed: server.strayed,
      async close() {
        await organisation.close()
        await server.close()
      },
    }
  },
}

const intelPolicy = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
const intelIssuer = 'Intel Trust Authority'
/** `/readyz` asks whether Intel's keys are at hand: an outage of a minute does not take replicas away. */
const intel = (log: RegExp): Expectation => ({
  log: new RegExp(`Intel Trust Authority: .*${log.source}`),
  ready: 200,
})

const intelTrustAuthority: BackEnd<undefined> = {
  name: 'Intel Trust Authority',
  choice: 'intel_ta',
  expectations: {
    down: intel(/ECONNREFUSED/),
    slow: intel(/no answer in time/),
    trickling: intel(/no answer in time/),
    'unknown CA': intel(/(UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)/),
    'wrong name': intel(/ERR_TLS_CERT_ALTNAME_INVALID/),
    'expired certificate': intel(/CERT_HAS_EXPIRED/),
    'expired credential': intel(/status 401, the API key is refused/),
    quota: intel(/(status 429|the quota is used up)/),
    'quota with Retry-After': intel(/(status 429|the quota is used up)/),
    'no format': intel(/status 200.*without a token/),
    'wrong shape': intel(/status 200.*without a token/),
    'huge answer': intel(/the answer is larger than 1048576 bytes/),
    'truncated answer': intel(/the connection failed/),
    'web page': intel(/status 200.*without a token/),
    redirect: intel(/status 307/),
    ...noDiskOfOurs,
  },
  async open() {
    const organisation = await createOrganisation('trustee-1')
    const fake = await startFakeIntelTrustAuthority()
    fake.matchingPolicies.add(intelPolicy)
    const server = await startWebBackEnd(fake)
    const ca = await organisation.write('intel-ca.pem', server.front.ca.pem + fake.ca)
    const kbs = await startKbs(organisation, {
      attestation_service: {
        type: 'intel_ta',
        base_url: server.url,
        api_key_file: await organisation.write('intel.key', fake.apiKey),
        certs_file: `${fake.url}/certs`,
        policy_ids: [intelPolicy],
        request_timeout_ms: 1_500,
        ca,
      },
      attestation_token: { issuers: [{ issuer: intelIssuer, jwk_sets: [`${fake.url}/certs`], ca }] },
    })
    const platform = createVirtualIntel(new Date()).platform()
    return {
      ...asking(kbs, () => tdx((reportData) => tdEvidence(platform, { reportData }))),
      confidential: [fake.apiKey],
      async begin(fault) {
        if (fault !== 'expired credential') return server.begin(fault)
        fake.fail({ kind: 'status', status: 401, error: 'API key expired' })
        return async () => fake.fail(undefined)
      },
      strayed: server.strayed,
      async close() {
        await organisation.close()
        await server.close()
        await fake.close()
      },
    }
  },
}

const publicService = 'anybody may ask: there is no credential'

/** What the guest is told where evidence cannot be verified for want of what vouches for it: which of it. */
const unverifiable =
  (code: string) =>
  (log: RegExp): Expectation => ({
    reason: new RegExp(`^evidence cannot be verified now: ${code}$`),
    log,
    ready: 200,
  })
const noVek = unverifiable('VEK_UNAVAILABLE')
/** Where a source has been asked, and has nothing for the chip. */
const unknownVek = (log: RegExp): Expectation => ({
  status: 401,
  kind: 'AttestationError',
  reason: /^evidence rejected: VEK_UNAVAILABLE$/,
  log,
  ready: 200,
})

const keyDistribution: BackEnd<undefined> = {
  name: 'built-in; VCEKs from AMD’s KDS',
  choice: 'KDS',
  expectations: {
    down: noVek(/KDS: .*ECONNREFUSED/),
    slow: noVek(/KDS: .*no answer within 1000 ms/),
    trickling: noVek(/KDS: .*(no answer within 1000 ms|answer of more than)/),
    'unknown CA': noVek(/KDS: .*(certificate|signature)/),
    'wrong name': noVek(/KDS: .*altnames/),
    'expired certificate': noVek(/KDS: .*certificate has expired/),
    'expired credential': publicService,
    quota: noVek(/KDS: .*status 429/),
    'quota with Retry-After': noVek(/KDS: .*status 429/),
    'no format': noVek(/KDS: .*not a DER certificate/),
    'wrong shape': noVek(/KDS: .*not a DER certificate/),
    'huge answer': noVek(/KDS: .*answer of more than \d+ bytes/),
    'truncated answer': noVek(/KDS: .*(aborted|terminated|premature)/i),
    'web page': noVek(/KDS: .*not a DER certificate/),
    redirect: noVek(/KDS: .*status 307/),
    ...noDiskOfOurs,
  },
  async open() {
    const organisation = await createOrganisation('trustee-1')
    const machines: VirtualSnpMachine[] = []
    const kds = await startFakeKds({ machines })
    const server = await startWebBackEnd(kds)
    const ca = await organisation.write('kds-ca.pem', server.front.ca.pem)
    const sources = [{ type: 'KDS', base_url: server.url, timeout_ms: 1_000 }]
    const kbs = await startKbs(organisation, await snpConfig(organisation, sources), {
      env: { NODE_EXTRA_CA_CERTS: ca },
    })
    return {
      // a chip whose certificate is kept already would not show that the service is down
      ...asking(kbs, () => snp(machines)),
      confidential: [],
      begin: server.begin,
      strayed: server.strayed,
      async close() {
        await organisation.close()
        await server.close()
        await kds.close()
      },
    }
  },
}

const offlineStore: BackEnd<undefined> = {
  name: 'built-in; VCEKs from a folder',
  choice: 'OfflineStore',
  available: diskFaultsAvailable,
  expectations: {
    ...noNetwork,
    // a folder without the file says that there is none; one that is not there has none either
    down: unknownVek(/no source has the VCEK/),
    quota: 'nobody counts',
    'no format': noVek(/OfflineStore: .*/),
    'wrong shape': '"no format"',
    'huge answer': noVek(/OfflineStore: .*file of \d+ bytes/),
    'truncated answer': '"no format"',
    'read-only': 'it is only read',
    'full disk': 'it is only read',
    corrupt: '"no format"',
    'no permission': noVek(/OfflineStore: .*unreadable file \(EACCES\)/),
  },
  async open() {
    const organisation = await createOrganisation('trustee-1')
    const machines: VirtualSnpMachine[] = []
    const attester = snp(machines)
    const [machine] = machines
    if (machine === undefined) throw new Error('no machine')
    const store = organisation.path('kds-store')
    const file = join(store, 'vcek', Buffer.from(machine.chipId).toString('hex'), 'vcek.der')
    await mkdir(dirname(file), { recursive: true })
    const good = machine.endorsementCertificate
    await writeFile(file, good)
    const sources = [{ type: 'OfflineStore', path: store }]
    const kbs = await startKbs(organisation, await snpConfig(organisation, sources), {
      under: withoutPrivileges(),
    })
    const back = () => writeFile(file, good)
    return {
      ...asking(kbs, () => attester),
      confidential: [],
      async begin(fault) {
        switch (fault) {
          case 'down':
            await rename(store, `${store}.aside`)
            return () => rename(`${store}.aside`, store)
          case 'no format':
            await writeFile(file, 'this is no certificate')
            return back
          case 'huge answer':
            await writeFile(file, Buffer.alloc(1_048_576))
            return back
          case 'no permission':
            await chmod(file, 0o000)
            return () => chmod(file, 0o600)
          default:
            throw new Error(`a folder cannot fail like this: ${fault}`)
        }
      },
      close: () => organisation.close(),
    }
  },
}

const noCollateral = unverifiable('COLLATERAL_UNAVAILABLE')
const badCollateral = unverifiable('COLLATERAL_MALFORMED')

const collateralService: BackEnd<undefined> = {
  name: 'built-in; collateral from Intel’s PCS',
  choice: 'collateral_service',
  expectations: {
    down: noCollateral(/ECONNREFUSED/),
    slow: noCollateral(/no complete answer in time/),
    trickling: noCollateral(/no complete answer in time/),
    'unknown CA': noCollateral(/(UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)/),
    'wrong name': noCollateral(/ERR_TLS_CERT_ALTNAME_INVALID/),
    'expired certificate': noCollateral(/CERT_HAS_EXPIRED/),
    'expired credential': publicService,
    quota:
      'pauses a minute, so it has no place here: packages/tee-evidence/test/intel/collateral-cache.test.ts',
    'quota with Retry-After': noCollateral(/answers with status 429/),
    'no format': badCollateral(/tcb-info: not JSON/),
    'wrong shape': badCollateral(/tcb-info: members other than/),
    'huge answer': noCollateral(/sends more than \d+ bytes/),
    'truncated answer': noCollateral(/(terminated|UND_ERR_SOCKET)/),
    'web page': noCollateral(/answers without TCB-Info-Issuer-Chain/),
    redirect: noCollateral(/redirect/),
    ...noDiskOfOurs,
  },
  async open() {
    const organisation = await createOrganisation('trustee-1')
    const virtual = createVirtualIntel(new Date())
    const pcs = await startVirtualPcs()
    const server = await startWebBackEnd(pcs)
    const kbs = await startKbs(organisation, {
      profile: 'development',
      attestation_service: {
        type: 'coco_as_builtin',
        verifier_config: {
          dcap_verifier: {
            trusted_root: await organisation.write('intel.pem', pem('CERTIFICATE', virtual.rootCertificate)),
            collateral_service: server.url,
            ca: await organisation.write('pcs-ca.pem', server.front.ca.pem),
            timeout_ms: 1_500,
            retry_seconds: 1,
          },
        },
      },
    })
    /** A platform of a kind that has not been seen: what is kept of another would bridge the outage. */
    const newPlatform = () => {
      const fmspc = randomBytes(6).toString('hex')
      pcs.serve('tdx', fmspc, 'platform', virtual.collateral({ tee: 'tdx', fmspc }))
      return virtual.platform({ fmspc })
    }
    return {
      ...asking(kbs, () => {
        const platform = newPlatform()
        return tdx((reportData) => tdEvidence(platform, { reportData }))
      }),
      confidential: [],
      begin: server.begin,
      strayed: server.strayed,
      async close() {
        await organisation.close()
        await server.close()
        await pcs.close()
      },
    }
  },
}

const noChain = unverifiable('CSV_CHAIN_UNAVAILABLE')

const hygonService: BackEnd<undefined> = {
  name: 'built-in; HSK and CEK from Hygon’s service',
  choice: 'base_url',
  expectations: {
    down: noChain(/ECONNREFUSED/),
    slow: noChain(/no answer within 1500 ms/),
    trickling: noChain(/no answer within 1500 ms/),
    'unknown CA': noChain(/(UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE|certificate)/),
    'wrong name': noChain(/altnames/),
    'expired certificate': noChain(/certificate has expired/),
    'expired credential': publicService,
    quota: noChain(/status 429/),
    'quota with Retry-After': noChain(/status 429/),
    'no format': unverifiable('CSV_CERT_MALFORMED')(/./),
    'wrong shape': unverifiable('CSV_CERT_MALFORMED')(/./),
    'huge answer': noChain(/answer of more than \d+ bytes/),
    'truncated answer': noChain(/(terminated|other side closed|UND_ERR_SOCKET)/),
    'web page': unverifiable('CSV_CERT_MALFORMED')(/./),
    redirect: noChain(/redirect/),
    ...noDiskOfOurs,
  },
  async open() {
    const organisation = await createOrganisation('trustee-1')
    const root = createVirtualHygonRoot()
    const chips: VirtualHygonChip[] = []
    const service = createServer(({ url = '/' }, response) => {
      const chipId = new URL(url, 'http://localhost').searchParams.get('snumber')
      const chip = chips.find((known) => known.chipId === chipId)
      response.writeHead(chip === undefined ? 404 : 200).end(chip?.hskCek)
    }).listen(0, '127.0.0.1')
    await once(service, 'listening')
    const { port } = service.address() as { readonly port: number }
    const server = await startWebBackEnd({ url: `http://127.0.0.1:${port}` })
    const csvVerifier = {
      trusted_root: await organisation.write('hrk.cert', root.certificate),
      cert_dir: organisation.path('hsk_cek'),
      base_url: server.url,
      timeout_ms: 1_500,
    }
    const kbs = await startKbs(
      organisation,
      {
        profile: 'development',
        attestation_service: { type: 'coco_as_builtin', verifier_config: { csv_verifier: csvVerifier } },
      },
      { env: { NODE_EXTRA_CA_CERTS: await organisation.write('hygon-ca.pem', server.front.ca.pem) } },
    )
    return {
      // a chip whose certificates are kept already would not show that the service is down
      ...asking(kbs, () => {
        const chip = createVirtualHygonChip({ root })
        chips.push(chip)
        return {
          tee: 'csv',
          evidence: async (reportData) => chip.evidence({ reportData, withChain: false }),
        }
      }),
      confidential: [],
      begin: server.begin,
      strayed: server.strayed,
      async close() {
        await organisation.close()
        await server.close()
        service.closeAllConnections()
        await new Promise((resolve) => service.close(resolve))
      },
    }
  },
}

function tdx(evidence: (reportData: Uint8Array) => object): Attester {
  return { tee: 'tdx', evidence: async (reportData) => evidence(reportData) as JsonValue }
}

/** A guest on a chip of its own, whose host has no certificates for it. */
function snp(machines: VirtualSnpMachine[]): Attester {
  const machine = createVirtualSnpMachine({ generation: 'Milan' })
  machines.push(machine)
  return {
    tee: 'snp',
    evidence: async (reportData) => machine.evidence({ reportData, certificates: 'none' }),
  }
}

async function snpConfig(organisation: Organisation, sources: readonly ConfigTable[]): Promise<ConfigTable> {
  for (const [name, bundle] of rootFiles()) await organisation.write(`roots/${name}`, bundle)
  const snpVerifier = {
    trusted_roots: organisation.path('roots'),
    vcek_sources: sources,
    crl_policy: 'off',
  }
  return {
    // the production profile knows AMD's own roots only
    profile: 'development',
    attestation_service: { type: 'coco_as_builtin', verifier_config: { snp_verifier: snpVerifier } },
  }
}

const secret = randomBytes(64)

/** Both halves in one process: the guest needs nobody else. Whoever is verified has the secret. */
async function startKbs(
  organisation: Organisation,
  config: ConfigTable,
  options: Omit<ProgramOptions, 'configFile'> = {},
): Promise<Program> {
  const basics = { http_server: plainHttp, admin: organisation.admin.config }
  const plugins = [{ name: 'resource', storage_backend_type: 'KvStorage' }]
  const kbs = await organisation.start('kbs', { ...basics, plugins, ...config }, options)
  const administration = administer(kbs.url, organisation.admin)
  await administration.setResourcePolicy(presets.allowAll)
  await administration.setResource(path, secret)
  return kbs
}

/** @param attester a guest for one handshake; the same or another each time */
function asking(
  kbs: Program,
  attester: () => Attester,
): Pick<OpenBackEnd, 'kbs' | 'secret' | 'guest' | 'ask'> {
  return {
    kbs,
    secret,
    guest: () => createGuest({ kbsUrl: kbs.url, attester: attester() }).getResource(path),
    ask: () => attestAnswer(kbs, attester()),
  }
}

/** The answer to `/attest`. */
async function attestAnswer(kbs: Program, attester: Attester): Promise<Response> {
  let answer: Response | undefined
  const noting: Fetch = async (url, init) => {
    const response = await fetch(url, init)
    if (url.endsWith('/attest')) answer = response.clone()
    return response
  }
  await createGuest({ kbsUrl: kbs.url, attester, fetch: noting })
    .attestOnce()
    .catch(() => {})
  if (answer === undefined) throw new Error('the guest did not get as far as /attest')
  return answer
}

async function untilRefused(kbs: Program, attester: Attester): Promise<void> {
  const deadline = performance.now() + 10_000
  while ((await attestAnswer(kbs, attester)).status === 200) {
    if (performance.now() > deadline) throw new Error('the old token is still good')
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Whoever verifies evidence, or vouches for it. */
export const attestationBackEnds: readonly BackEnd<undefined>[] = [
  grpc,
  intelTrustAuthority,
  keyDistribution,
  offlineStore,
  collateralService,
  hygonService,
]
