import { describe, expect, it } from 'vitest'
import { parseTee, teeClass, tees } from '../src/index.ts'

/** Spec 01 §2.3. */
describe('TEE names', () => {
  it('are themselves', () => {
    for (const tee of tees) expect(parseTee(tee)).toBe(tee)
  })
  it('have the aliases of older guests', () => {
    expect(parseTee('azsnpvtpm')).toBe('az-snp-vtpm')
    expect(parseTee('aztdxvtpm')).toBe('az-tdx-vtpm')
    expect(parseTee('nvidiadpu')).toBe('nvidia-dpu')
    expect(parseTee('dpu')).toBe('nvidia-dpu')
  })
  it.each(['sev', 'SNP', '', 'constructor', '__proto__', ' snp'])('do not include %j', (name) => {
    expect(parseTee(name)).toBeUndefined()
  })
  it('have the class under which the token numbers them', () => {
    expect(teeClass('az-snp-vtpm')).toBe('cpu')
    expect(teeClass('sampledevice')).toBe('gpu')
    expect(teeClass('hygondcu')).toBe('dcu')
    expect(teeClass('nvidia-dpu')).toBe('nvidia-dpu')
  })
})
