import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT } from 'jose'

/** An administration with one Ed25519 key whose role `admin` may use `allowedEndpoints`. */
export async function administration(allowedEndpoints = '^/kbs/v0/.+$') {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const path = join(await mkdtemp(join(tmpdir(), 'kbs-admin-')), 'admin.pub')
  await writeFile(path, publicKey.export({ type: 'spki', format: 'pem' }))
  return {
    config: {
      authorization_mode: 'AuthenticatedAuthorization',
      authentication: { bearer_jwt: { identity_providers: [{ public_key_uri: path }] } },
      authorization: { regex_acl: { acls: [{ role: 'admin', allowed_endpoints: allowedEndpoints }] } },
    },
    bearer: (role = 'admin', key: KeyObject = privateKey) => adminBearer(role, key),
    strangerBearer: () => adminBearer('admin', generateKeyPairSync('ed25519').privateKey),
  }
}

async function adminBearer(role: string, key: KeyObject): Promise<{ authorization: string }> {
  const token = await new SignJWT({ role, sub: 'alice' })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
    .setExpirationTime('2h')
    .sign(key)
  return { authorization: `Bearer ${token}` }
}
