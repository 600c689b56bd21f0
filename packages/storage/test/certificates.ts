import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from './back-ends.ts'

/** A CA and a server certificate for `localhost` under it, as PEM texts, made by OpenSSL's command line. */
export async function makeCertificates(): Promise<{ ca: string; certificate: string; privateKey: string }> {
  const folder = await temporaryFolder()
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder.path, stdio: 'ignore' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Test CA')
  const issue = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', 'subjectAltName=DNS:localhost']
  const subject = ['-subj', '/CN=localhost', '-addext', 'basicConstraints=critical,CA:FALSE']
  openssl('req', '-x509', ...newKey, ...issue, ...subject, '-keyout', 'server.key', '-out', 'server.pem')
  const text = (name: string) => readFile(join(folder.path, name), 'utf8')
  const made = {
    ca: await text('ca.pem'),
    certificate: await text('server.pem'),
    privateKey: await text('server.key'),
  }
  await folder.remove()
  return made
}
