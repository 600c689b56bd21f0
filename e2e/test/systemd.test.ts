import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Program, parseConfig } from '@passport-kbs/service'
import { parse as parseToml } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundle } from '../../docker/bundle.ts'
import { guideBlocks } from '../src/systemd/guide.ts'
import {
  connectHosts,
  type SystemdHost,
  startSystemdHost,
  systemdAvailable,
  unitAnalysisAvailable,
} from '../src/systemd/host.ts'

const root = resolve(import.meta.dirname, '../..')
const folder = join(root, 'docker/systemd')
const unitName = 'passport-kbs@.service'
const programs: readonly Program[] = ['kbs-attest', 'kbs-resource', 'kbs', 'attestation-service']

const blocks = guideBlocks(join(root, 'docs/deploy-bare-process.md'))
/** Blocks are run in one shell after another: what the page defines for all of them comes first. */
const definitions = blocks.find(({ script }) => script.startsWith('kbsctl()'))?.script ?? ''
const scriptsFor = (host: string, name?: string) =>
  blocks.filter((block) => block.hosts.includes(host) && block.name === name).map(({ script }) => script)

/** A host's root below a temporary folder with the unit and what it starts, for tools that look at files only. */
function unitRoot(change: (unit: string) => string = (unit) => unit): { root: string; units: string } {
  const top = mkdtempSync(join(tmpdir(), 'units-'))
  const units = join(top, 'etc/systemd/system')
  mkdirSync(units, { recursive: true })
  writeFileSync(join(units, unitName), change(readFileSync(join(folder, unitName), 'utf8')))
  return { root: top, units }
}

function analyze(...args: string[]) {
  return spawnSync('systemd-analyze', args, { encoding: 'utf8', env: { ...process.env, SYSTEMD_PAGER: '' } })
}

describe.skipIf(!unitAnalysisAvailable())('the unit', () => {
  /** The verifier wants the file that is started to be there; where it will be is root's to say. */
  const here = (unit: string) => unit.replaceAll('/opt/passport-kbs/current/node', process.execPath)
  const verify = (change: (unit: string) => string, program: Program) => {
    const { units } = unitRoot((unit) => change(here(unit)))
    cpSync(join(units, unitName), join(units, `passport-kbs@${program}.service`))
    return analyze(
      'verify',
      '--recursive-errors=no',
      '--man=no',
      join(units, `passport-kbs@${program}.service`),
    )
  }

  it.each(programs)('is what systemd understands, for %s', (program) => {
    const { status, stderr } = verify((unit) => unit, program)
    expect(stderr).toBe('')
    expect(status).toBe(0)
  })

  it('is refused with a directive that systemd does not know', () => {
    const { stderr } = verify((unit) => unit.replace('ProtectHome=', 'ProtectHomes='), 'kbs')
    expect(stderr).toMatch(/Unknown key (name )?'ProtectHomes'/)
  })

  it('leaves next to nothing to attack', () => {
    const { units } = unitRoot()
    const { status, stdout } = analyze('security', '--offline=true', '--threshold=15', join(units, unitName))
    expect(status, stdout).toBe(0)
  })
})

describe.each(programs)('config/%s.toml', (program) => {
  const text = readFileSync(join(folder, `config/${program}.toml`), 'utf8')

  it('is accepted in the production profile, without a warning', () => {
    const config = parseConfig(program, parseToml(text), {})
    expect(config.profile).toBe('production')
    expect(config.warnings).toEqual([])
  })

  it('names files of this program only, in the folders that the unit gives it', () => {
    for (const [, path = ''] of text.matchAll(/"(\/[^"]+)"/g)) {
      expect(path).toMatch(new RegExp(`^/(etc|var/lib|var/cache)/passport-kbs/${program}(/|$)`))
    }
  })
})

describe.skipIf(!systemdAvailable())(
  'two Trustees with a systemd each, as docs/deploy-bare-process.md says',
  () => {
    let trustee1: SystemdHost
    let trustee2: SystemdHost
    const run = (host: SystemdHost, script: string) => host.sh(`${definitions}\n${script}`)
    const mainPid = (host: SystemdHost, program: Program) =>
      host.sh(`systemctl show --property=MainPID --value passport-kbs@${program}`).trim()
    const property = (host: SystemdHost, program: Program, name: string) =>
      host.sh(`systemctl show --property=${name} --value passport-kbs@${program}`).trim()
    /** Sample evidence stands in for a TEE's, which only the development profile accepts. */
    const allowSamples = (host: SystemdHost, program: Program) =>
      host.sh(
        `mkdir -p /etc/systemd/system/passport-kbs@${program}.service.d
       cat > /etc/systemd/system/passport-kbs@${program}.service.d/samples.conf
       systemctl daemon-reload && systemctl restart passport-kbs@${program}`,
        '[Service]\nEnvironment=KBS_PROFILE=development\n',
      )
    const ready = (host: SystemdHost, program: Program) =>
      host.sh(
        `curl --fail --silent --show-error --retry 20 --retry-delay 1 --retry-all-errors ` +
          `--cacert /etc/passport-kbs/${program}/ca.pem https://$(hostname):8443/readyz`,
      )
    const readSecret = () => {
      trustee1.sh('openssl genrsa -traditional -out /root/tee.pem 2048 2>/dev/null')
      const token = run(
        trustee1,
        'kbsctl --url https://trustee1.example:8443 --cert-file /etc/passport-kbs/kbs-attest/ca.pem attest --tee-key-file /root/tee.pem',
      )
      trustee2.sh('cat > /root/token', token)
      trustee2.sh('cat > /root/tee.pem', trustee1.sh('cat /root/tee.pem'))
      return run(
        trustee2,
        'kbsctl --url https://trustee2.example:8443 --cert-file /etc/passport-kbs/kbs-resource/ca.pem get-resource --attestation-token /root/token --tee-key-file /root/tee.pem --path default/database/key',
      ).trim()
    }
    const secret = () => trustee2.sh('base64 -w0 /root/key').trim()

    beforeAll(async () => {
      await Promise.all(
        [...programs, 'kbsctl'].map((app) =>
          bundle(join(root, 'apps', app), join(root, 'apps', app, 'dist/main.js')),
        ),
      )
      trustee1 = await startSystemdHost('trustee1')
      trustee2 = await startSystemdHost('trustee2')
      connectHosts(trustee1, trustee2, ['trustee1.example', 'trustee2.example'])
      for (const host of [trustee1, trustee2]) host.sh(`hostname ${host.name}.example`)
    }, 120_000)
    afterAll(async () => {
      await trustee2?.close()
      await trustee1?.close()
    })

    it('Trustee 1 follows the page', () => {
      for (const script of scriptsFor('trustee1')) run(trustee1, script)
      expect(property(trustee1, 'kbs-attest', 'ActiveState')).toBe('active')
    }, 60_000)

    it('Trustee 2 gets the CA certificate, and follows the page', () => {
      trustee2.sh(
        'cat > /root/trustee1-token-ca.pem',
        trustee1.sh('cat /etc/passport-kbs/kbs-attest/token-ca.pem'),
      )
      for (const script of scriptsFor('trustee2')) run(trustee2, script)
      expect(property(trustee2, 'kbs-resource', 'ActiveState')).toBe('active')
    }, 60_000)

    it('a guest gets a passport at the one and the secret at the other', () => {
      allowSamples(trustee1, 'kbs-attest')
      allowSamples(trustee2, 'kbs-resource')
      ready(trustee1, 'kbs-attest')
      ready(trustee2, 'kbs-resource')
      run(
        trustee1,
        `kbsctl admin-token --key /root/passport-kbs-offline/admin.key --role admin --issuer admin --audience trustee1 > /root/admin-token
       sample() { kbsctl --url https://trustee1.example:8443 --cert-file /etc/passport-kbs/kbs-attest/ca.pem config --admin-token-file /root/admin-token set-sample-reference-value "$@"; }
       sample launch_digest abcde
       sample svn 1
       sample major_version 1 --as-integer --as-single-value
       sample minimum_minor_version 4 --as-integer --as-single-value`,
      )
      expect(readSecret()).toBe(secret())
    }, 60_000)

    it('the program is without privileges, and sees a file system that it cannot write to', () => {
      const pid = mainPid(trustee1, 'kbs-attest')
      const status = trustee1.sh(`cat /proc/${pid}/status`)
      expect(status).toMatch(/^CapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0+\nCapAmb:\t0+$/m)
      expect(status).toMatch(/^NoNewPrivs:\t1$/m)
      expect(status).toMatch(/^Seccomp:\t2$/m)
      // with the program's user and view of the file system; nothing but its own Node can be executed there
      const uid = trustee1.sh('id -u kbs-attest').trim()
      const inside = (command: string) =>
        trustee1.attempt(`cd / && nsenter --target=${pid} --mount --setuid=${uid} --setgid=${uid} ${command}`)
      const paths = [
        ...['/var/lib/passport-kbs/kbs-attest/x', '/var/cache/passport-kbs/kbs-attest/x', '/tmp/x'],
        ...['/etc/passport-kbs/kbs-attest/x', '/opt/x', '/var/lib/passport-kbs/x', '/usr/x', '/dev/shm/x'],
      ]
      const { stdout, stderr } = inside(
        `/opt/passport-kbs/current/node -e '
          const { writeFileSync, existsSync, readdirSync } = require("node:fs")
          const can = (work) => { try { work(); return true } catch { return false } }
          console.log(JSON.stringify({
            writable: ${JSON.stringify(paths)}.filter((path) => can(() => writeFileSync(path, ""))),
            sees: ["/proc/1/status", "/proc/meminfo", "/dev/console"].filter(existsSync),
            home: can(() => readdirSync("/root")),
          }))'`,
      )
      expect(JSON.parse(stdout), stderr).toEqual({ writable: paths.slice(0, 3), sees: [], home: false })
      expect(inside('/bin/true').status).toBe(126)
    })

    it('metrics are for the host itself, not for guests', () => {
      const status = (address: string) =>
        trustee1.sh(
          `curl --silent --output /dev/null --write-out '%{http_code}' --cacert /etc/passport-kbs/kbs-attest/ca.pem ${address}/metrics`,
        )
      expect(status('--connect-to ::127.0.0.1: https://trustee1.example:9464')).toBe('200')
      expect(status('https://trustee1.example:8443')).toBe('404')
      expect(
        trustee2.attempt('curl --silent --insecure https://trustee1.example:9464/metrics').status,
      ).not.toBe(0)
    })

    it('no other program of the host reads its secrets', () => {
      const { status, stderr } = trustee1.attempt(
        'setpriv --reuid=kbs-resource --regid=kbs-resource --clear-groups cat /etc/passport-kbs/kbs-attest/token.key',
      )
      expect(status).toBe(1)
      expect(stderr).toContain('Permission denied')
    })

    it('new keys are taken into use without a restart', async () => {
      const pid = mainPid(trustee1, 'kbs-attest')
      const served = () =>
        trustee1.sh(
          'openssl s_client -connect trustee1.example:8443 </dev/null 2>/dev/null | openssl x509 -noout -serial',
        )
      const before = served()
      for (const script of scriptsFor('trustee1', 'renew')) run(trustee1, script)
      await expect.poll(served, { timeout: 30_000, interval: 1_000 }).not.toBe(before)
      ready(trustee1, 'kbs-attest')
      expect(mainPid(trustee1, 'kbs-attest')).toBe(pid)
    }, 60_000)

    it('an upgrade drains the old release and starts the new one, with the same secrets', () => {
      for (const script of scriptsFor('trustee2', 'upgrade')) run(trustee2, script)
      expect(trustee2.sh(`readlink /proc/${mainPid(trustee2, 'kbs-resource')}/exe`)).toBe(
        '/opt/passport-kbs/0.1.1/node\n',
      )
      expect(trustee2.sh('journalctl -u passport-kbs@kbs-resource -o cat')).toMatch(/"msg":"stopped"/)
      expect(readSecret()).toBe(secret())
    }, 60_000)

    it('the way back is a link and a restart', () => {
      for (const script of scriptsFor('trustee2', 'rollback')) run(trustee2, script)
      expect(trustee2.sh(`readlink /proc/${mainPid(trustee2, 'kbs-resource')}/exe`)).toBe(
        '/opt/passport-kbs/0.1.0/node\n',
      )
      expect(readSecret()).toBe(secret())
    }, 60_000)

    it('the keys of the store are replaced, and the secret is there', async () => {
      const password = () => trustee2.sh('cat /etc/passport-kbs/kbs-resource/redis.password')
      const [key, formerPassword] = [
        trustee2.sh('cat /etc/passport-kbs/kbs-resource/storage.key'),
        password(),
      ]
      for (const name of ['redis-password', 'storage-key'])
        for (const script of scriptsFor('trustee2', name)) run(trustee2, script)
      expect(trustee2.sh('cat /etc/passport-kbs/kbs-resource/storage.key')).not.toBe(key)
      expect(password()).not.toBe(formerPassword)
      const { stdout } = trustee2.attempt(
        'redis-cli --tls --cacert /etc/redis/passport-kbs/ca.pem --user kbs --no-auth-warning -a "$(cat)" ping',
        formerPassword.trim(),
      )
      expect(stdout).toContain('NOAUTH')
      ready(trustee2, 'kbs-resource')
      expect(readSecret()).toBe(secret())
    }, 60_000)

    it('a crash is followed by a new start', async () => {
      trustee2.sh(`kill -9 ${mainPid(trustee2, 'kbs-resource')}`)
      await expect
        .poll(() => property(trustee2, 'kbs-resource', 'NRestarts'), { timeout: 10_000, interval: 500 })
        .toBe('1')
      ready(trustee2, 'kbs-resource')
    }, 30_000)

    it('a key may be a credential that is sealed to the machine', () => {
      // a host in memory has no TPM, and systemd-creds does not choose a key that is in memory by itself
      for (const script of scriptsFor('trustee1', 'credential'))
        run(trustee1, script.replace('systemd-creds encrypt', 'systemd-creds encrypt --with-key=host'))
      ready(trustee1, 'kbs-attest')
      expect(trustee1.attempt('test -e /etc/passport-kbs/kbs-attest/token.key').status).toBe(1)
      expect(readSecret()).toBe(secret())
    }, 60_000)

    it.each(['kbs', 'attestation-service'] as const)(
      '%s starts from its configuration, too',
      (program) => {
        trustee1.sh('systemctl stop "passport-kbs@*" redis-server')
        run(
          trustee1,
          `dir=/etc/passport-kbs/${program}
         mkdir -p $dir
         kbsctl init --program ${program} --directory $dir --offline /root/offline-${program} --dns trustee1.example
         install -m 0600 docker/systemd/config/${program}.toml $dir/config.toml
         chown -R ${program}: $dir
         cd $dir
         install -m 0640 -g redis redis.key redis.pem redis.acl ca.pem /etc/redis/passport-kbs/
         systemctl start redis-server passport-kbs@${program}`,
        )
        ready(trustee1, program)
      },
      30_000,
    )

    it('a wrong configuration is told once, and not tried again', async () => {
      trustee2.sh('sed -i "1i nonsense = true" /etc/passport-kbs/kbs-resource/config.toml')
      trustee2.attempt('systemctl restart passport-kbs@kbs-resource')
      await expect
        .poll(() => property(trustee2, 'kbs-resource', 'ActiveState'), { timeout: 10_000, interval: 200 })
        .toBe('failed')
      expect(property(trustee2, 'kbs-resource', 'ExecMainStatus')).toBe('78')
      expect(property(trustee2, 'kbs-resource', 'NRestarts')).toBe('0')
      expect(trustee2.sh('journalctl -u passport-kbs@kbs-resource -o cat')).toContain('nonsense')
    }, 30_000)
  },
)
