import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Attester,
  createGuest,
  getResourceWithPassport,
  sampleAttester,
} from '@passport-kbs/guest-client'
import { isJsonObject, type JweResponse, openWithTeeKey, parseJson } from '@passport-kbs/protocol'
import { parse as parseToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { administer } from '../src/administration.ts'
import { type MountedObject, mountSecrets, objectsOf } from '../src/azure-guide/csi-driver.ts'
import { Operator, readSteps } from '../src/azure-guide/guide.ts'
import { type Azure, startAzure } from '../src/back-ends/azure.ts'
import { makeServerIdentity } from '../src/certificates.ts'
import { commandsAvailable } from '../src/commands.ts'
import { type Manifest, ofKind, readManifests, type WorkloadSpec } from '../src/kubernetes/manifest.ts'
import { openManifestSchemas } from '../src/kubernetes/manifest-schema.ts'
import {
  helmTemplate,
  kubernetesToolsAvailable,
  kustomizeBuild,
  type Rendering,
  toolsFolder,
} from '../src/kubernetes/tools.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { audience, issuer, plainHttp, publishedKeysOf } from '../src/trustees.ts'
import { rootFiles, virtualTees } from '../src/virtual-tees.ts'

const hasTools = kubernetesToolsAvailable()
const steps = readSteps()
const step = (number: number) => {
  const found = steps[number - 1]
  if (found === undefined) throw new Error(`there is no step ${number}`)
  return found
}

interface SecretProviderClassSpec {
  readonly provider: string
  readonly parameters: Readonly<Record<'keyvaultName' | 'tenantId' | 'clientID' | 'objects', string>>
}

const hasShell = commandsAvailable(['bash', 'openssl'], 'the guide to Azure Key Vault')

describe.skipIf(!hasShell)('the guide to Azure Key Vault (docs/azure-key-vault.md), step by step', () => {
  const good = virtualTees.snp()
  let folder: string
  let operator: Operator
  let trustee1: Organisation
  let trustee2: Organisation
  let kbs1: Program
  let kbs2: Program
  /** Where the driver mounts. */
  let directory: string
  let objects: readonly MountedObject[]
  const tls = makeServerIdentity('trustee2')

  /** Runs the shell blocks of a step. */
  const follow = (number: number, blocks = step(number).shell) => {
    expect(blocks.length, `shell blocks of step ${number}`).toBeGreaterThan(0)
    const { status, stderr } = operator.run(blocks)
    expect(`${stderr}${status}`, `step ${number}: ${step(number).title}`).toMatch(/(^|\n)0$/)
  }
  const check = hasTools ? openManifestSchemas(join(toolsFolder, 'schemas')) : () => []
  const accepted = ({ yaml, refusal }: Rendering): readonly Manifest[] => {
    expect(refusal).toBeUndefined()
    const manifests = readManifests(yaml)
    expect(manifests.flatMap(check)).toEqual([])
    return manifests
  }
  /** The plugin of a configuration that the chart has made. */
  const pluginOf = (manifests: readonly Manifest[]) => {
    const texts = ofKind(manifests, 'ConfigMap').flatMap(({ data = {} }) => Object.values(data))
    const [config] = texts.map((text) => parseToml(text)).filter(({ plugins }) => plugins !== undefined)
    return (config?.plugins as readonly ConfigTable[] | undefined)?.[0]
  }
  const startKbs2 = async (plugins: unknown, env: Readonly<Record<string, string>> = {}) =>
    trustee2.start(
      'kbs-resource',
      {
        // KBS1 trusts the virtual AMD, which is for the development profile
        profile: 'development',
        http_server: {
          sockets: ['127.0.0.1:0'],
          private_key: await trustee2.write('tls.key', tls.server.keyPem),
          certificate: await trustee2.write('tls.pem', tls.server.pem),
        },
        admin: trustee2.admin.config,
        attestation_token: await publishedKeysOf(kbs1)(trustee2),
        plugins,
      },
      { env },
    )
  const attest = (attester: Attester) => createGuest({ kbsUrl: kbs1.url, attester }).attestOnce()
  const read = async (path: string, attester = good.attester) =>
    Buffer.from(
      await getResourceWithPassport({ kbsUrl: kbs2.url, ca: tls.ca.pem, path, ...(await attest(attester)) }),
    )
  const textOf = (name: string) => Buffer.from(operator.secrets().get(name)?.at(-1)?.value ?? '')
  const bytesOf = (name: string) => Buffer.from(textOf(name).toString(), 'base64')

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'azure-guide-'))
    operator = new Operator(folder)
    trustee1 = await createOrganisation('trustee-1')
    trustee2 = await createOrganisation('trustee-2')
    for (const [name, bundle] of rootFiles()) await trustee1.write(`roots/${name}`, bundle)
    kbs1 = await trustee1.start('kbs-attest', {
      profile: 'development',
      http_server: plainHttp,
      admin: trustee1.admin.config,
      attestation_service: {
        type: 'coco_as_builtin',
        attestation_token_broker: { issuer_name: issuer, audience },
        verifier_config: { snp_verifier: { trusted_roots: trustee1.path('roots'), crl_policy: 'off' } },
      },
    })
    await administer(kbs1.url, trustee1.admin).setReferenceValues(good.referenceValues)
    // what Trustee 2 has from its installation
    await writeFile(join(folder, 'values.yaml'), '')
    await mkdir(join(folder, 'trustee2'))
    await writeFile(join(folder, 'trustee2/ca.pem'), tls.ca.pem)
    await writeFile(join(folder, 'admin-token'), await trustee2.admin.token(), { mode: 0o600 })
    directory = trustee2.path('secrets-store')
  }, 60_000)
  afterAll(async () => {
    await trustee2?.close()
    await trustee1?.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('steps 1 to 4: names, driver, identity, vault and secrets', () => {
    for (const number of [1, 2, 3, 4]) follow(number)
    const [federated] = operator.commands().filter(({ command }) => command.includes('federated-credential'))
    expect(federated?.options.subject).toEqual(['system:serviceaccount:kbs:kbs-resource'])
    expect(federated?.options.issuer?.[0]).toMatch(/^https:/)
    const roles = operator.commands().filter(({ command }) => command.includes('role assignment'))
    expect(roles.map(({ options }) => [options.role?.[0], options['assignee-principal-type']?.[0]])).toEqual([
      ['Key Vault Secrets User', 'ServicePrincipal'],
      ['Key Vault Secrets Officer', 'User'],
    ])
    expect([...operator.secrets().keys()].sort()).toEqual(['db-password', 'disk-key'])
    expect(bytesOf('disk-key')).toHaveLength(32)
  })

  it('step 5: the values of the chart', async () => {
    follow(5)
    const { workloadIdentity, secrets } = parseYaml(operator.run(['cat akv.yaml']).stdout) as {
      workloadIdentity: Record<string, string>
      secrets: { csi: { keyVaultName: string; objects: readonly { name: string; encoding?: string }[] } }
    }
    expect(workloadIdentity.clientId).toMatch(/^2{8}-/)
    expect(workloadIdentity.tenantId).toMatch(/^1{8}-/)
    objects = secrets.csi.objects.map(({ name, encoding }) => ({
      objectName: name,
      objectType: 'secret',
      ...(encoding === undefined ? {} : { objectEncoding: encoding }),
    }))
    expect(objects.map(({ objectName }) => objectName)).toEqual([...operator.secrets().keys()].sort())
  })

  it.skipIf(!hasTools)('step 5: what the chart makes of them, and the overlay without Helm', () => {
    const values = ['trustee2', join(folder, 'akv.yaml')]
    const manifests = accepted(helmTemplate({ name: 'kbs-resource', values }))
    const [driven] = ofKind<SecretProviderClassSpec>(manifests, 'SecretProviderClass')
    expect(driven?.spec.provider).toBe('azure')
    expect(driven?.spec.parameters).toMatchObject({
      keyvaultName: 'my-vault',
      clientID: expect.stringMatching(/^2{8}-/),
    })
    expect(objectsOf(driven?.spec.parameters.objects ?? '')).toEqual(objects)
    // the service account of the federated credential, and what workload identity looks for
    const [account] = ofKind(manifests, 'ServiceAccount')
    expect(account?.metadata.name).toBe('kbs-resource')
    expect(account?.metadata.annotations?.['azure.workload.identity/client-id']).toMatch(/^2{8}-/)
    const [deployment] = ofKind<WorkloadSpec>(manifests, 'Deployment')
    expect(deployment?.spec.template.metadata.labels?.['azure.workload.identity/use']).toBe('true')
    // the configuration of step 6 is what the chart writes, and its directory is where the volume is
    expect(pluginOf(manifests)).toEqual((parseToml(step(6).block('toml')).plugins as unknown[])[0])
    const [container] = deployment?.spec.template.spec.containers ?? []
    const mounted = container?.volumeMounts?.find(({ mountPath }) => mountPath === '/mnt/secrets-store')
    expect(mounted).toMatchObject({ readOnly: true })
    const volume = deployment?.spec.template.spec.volumes?.find(({ name }) => name === mounted?.name)
    expect(volume?.csi).toMatchObject({
      driver: 'secrets-store.csi.k8s.io',
      volumeAttributes: { secretProviderClass: driven?.metadata.name },
    })

    const overlay = accepted(kustomizeBuild('overlays/akv'))
    const [same] = ofKind<SecretProviderClassSpec>(overlay, 'SecretProviderClass')
    expect(objectsOf(same?.spec.parameters.objects ?? '')).toEqual(objects)
    expect(ofKind(overlay, 'ServiceAccount')[0]?.metadata.name).toBe('kbs')
    expect(pluginOf(overlay)).toEqual(pluginOf(manifests))
  })

  it('steps 6 and 7: KBS2 with the configuration of the page, and what the driver mounts', async () => {
    await mkdir(directory)
    const toml = step(6).block('toml').replace('/mnt/secrets-store', directory)
    expect(toml).toContain(directory)
    kbs2 = await startKbs2(parseToml(toml).plugins)
    operator.set('KBS2', kbs2.url)
    follow(7)
    const [install] = operator.commands().filter(({ command }) => command === 'helm upgrade')
    expect(install).toMatchObject({ words: ['kbs-resource', 'docker/kubernetes/helm/passport-kbs'] })
    expect(install?.options.values).toEqual(['values.yaml', 'akv.yaml'])
  })

  it('step 8: the resource policy, checked and set by kbsctl', async () => {
    await writeFile(join(folder, 'akv.rego'), step(8).block('rego'))
    follow(8)
  }, 30_000)

  it('step 9: a guest reads what is mounted, byte for byte, and what else it is answered', async () => {
    const one = () => read('default/akv/db-password')
    await expect(one()).rejects.toMatchObject({ status: 404 })
    await rm(directory, { recursive: true })
    await expect(one()).rejects.toMatchObject({ status: 503 })
    await mkdir(directory)
    await mountSecrets(directory, objects, operator.secrets(), '2027_01_01_00_00_01')
    await chmod(directory, 0o755)
    expect(await one()).toEqual(textOf('db-password'))
    expect(await read('default/akv/disk-key')).toEqual(bytesOf('disk-key'))
    await expect(read('default/akv/not-listed')).rejects.toMatchObject({ status: 404 })
    // the policy: another type, and a guest that is not affirming
    const denied = { status: 401, information: { type: expect.stringMatching(/PolicyDeny$/) } }
    await expect(read('default/key/db-password')).rejects.toMatchObject(denied)
    await expect(read('default/akv/db-password', sampleAttester())).rejects.toMatchObject(denied)
  })

  it('step 10: a changed secret is served when the driver has swapped, without a restart', async () => {
    const before = textOf('db-password')
    follow(10)
    expect(textOf('db-password')).not.toEqual(before)
    expect(await read('default/akv/db-password')).toEqual(before)
    await mountSecrets(directory, objects, operator.secrets(), '2027_01_01_00_02_01', '2027_01_01_00_00_01')
    expect(await read('default/akv/db-password')).toEqual(textOf('db-password'))
    expect(kbs2.running()).toBe(true)
    expect(kbs2.log().filter(({ msg }) => msg === 'listening')).toHaveLength(1)
  })

  describe('by its own API', () => {
    let azure: Azure
    const paths = { 'default/db/password': 'db-password', 'default/disk/key': 'default--disk--key' } as const

    beforeAll(async () => {
      azure = await startAzure(trustee2, { vault: 'my-vault' })
    })
    afterAll(() => azure?.close())

    /** What the commands have put into the vault is what the vault has. */
    const fillVault = () => {
      for (const [name, versions] of operator.secrets()) azure.keyVault.secrets.set(name, [...versions])
    }

    it('step 11: the values of the chart', () => {
      follow(11)
      expect(operator.secrets().has(paths['default/disk/key'])).toBe(true)
    })

    it.skipIf(!hasTools)('step 12: its configuration is what the chart writes', () => {
      const values = ['trustee2', join(folder, 'akv-api.yaml')]
      const manifests = accepted(helmTemplate({ name: 'kbs-resource', values }))
      expect(pluginOf(manifests)).toEqual((parseToml(step(12).block('toml')).plugins as unknown[])[0])
      const [deployment] = ofKind<WorkloadSpec>(manifests, 'Deployment')
      expect(deployment?.spec.template.metadata.labels?.['azure.workload.identity/use']).toBe('true')
    })

    it('steps 12 to 14: a guest reads them, and a changed one at once by its version', async () => {
      fillVault()
      kbs2 = await startKbs2(parseToml(step(12).block('toml')).plugins, azure.env)
      operator.set('KBS2', kbs2.url)
      follow(13)
      // step 13 has the policy name other paths
      const policy = step(8).block('rego').replace('== "akv"', 'in ["db", "disk"]')
      await writeFile(join(folder, 'akv.rego'), policy)
      follow(8)
      expect(await read('default/db/password')).toEqual(textOf('db-password'))
      expect(await read('default/disk/key')).toEqual(bytesOf('default--disk--key'))
      expect(azure.keyVault.requests.length).toBeGreaterThan(0)

      const before = textOf('db-password')
      follow(10)
      fillVault()
      expect(await read('default/db/password')).toEqual(before)
      const version = operator.secrets().get('db-password')?.at(-1)?.id ?? ''
      expect(await readVersion('default/db/password', version)).toEqual(textOf('db-password'))
    }, 40_000)

    const readVersion = async (path: string, version: string) => {
      const { token, teeKey } = await attest(good.attester)
      const text = await new Promise<string>((resolve, reject) => {
        const url = `${kbs2.url}/kbs/v0/resource/${path}?version=${version}`
        const headers = { authorization: `Bearer ${token}` }
        const sent = request(url, { ca: tls.ca.pem, headers }, (answer) => {
          let body = ''
          answer.setEncoding('utf8').on('data', (chunk: string) => {
            body += chunk
          })
          answer.once('end', () => resolve(body))
        })
        sent.once('error', reject).end()
      })
      const jwe = parseJson(text)
      if (!isJsonObject(jwe)) throw new Error(text)
      return Buffer.from(openWithTeeKey(teeKey, jwe as unknown as JweResponse))
    }
  })
})
