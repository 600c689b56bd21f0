import type { SnpPolicy } from '@passport-kbs/tee-evidence'
import type { VectorCase } from '../vector-case.ts'

/** The knobs of spec 03 §4 and §6 that a case may set, spelled as `min_evidence_version` is. */
export function snpPolicyOf(vectorCase: VectorCase): SnpPolicy {
  const option = (name: string) => vectorCase.option(name)
  const crlPolicy = option('crl_policy')
  const vmpls = option('allowed_vmpl')
  return {
    certValidity: option('cert_validity') === 'ignore' ? 'ignore' : 'enforce',
    crlPolicy: crlPolicy === 'soft' || crlPolicy === 'require' ? crlPolicy : 'off',
    allowMaskedChipId: option('allow_masked_chip_id') === true,
    rejectDebug: option('reject_debug') === true,
    ...(Array.isArray(vmpls) ? { allowedVmpl: vmpls.map(Number) } : {}),
  }
}

/** One verifier for each policy: preparing the roots takes longer than a case. */
export function verifierByPolicy<P extends SnpPolicy, V>(create: (policy: P) => V): (policy: P) => V {
  const known = new Map<string, V>()
  return (policy) => {
    const name = JSON.stringify(policy)
    const verifier = known.get(name) ?? create(policy)
    known.set(name, verifier)
    return verifier
  }
}
