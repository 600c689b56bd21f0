import { type TcgEvent, tcgEventType, u32, u64 } from './tcg-event.ts'

const aaelTag = 0x4141454c

/** The register that the guest's agent extends for a TPM PCR (Confidential Containers event log document). */
export function registerOfPcr(pcr: number): number {
  if (pcr === 1 || pcr === 7) return 1
  if (pcr >= 2 && pcr <= 6) return 2
  return pcr >= 8 && pcr <= 15 ? 3 : 4
}

/** An AAEL entry: what the guest's agent measures while the guest runs. */
export function aaelEvent(domain: string, operation: string, content: string, pcr = 17): TcgEvent {
  return taggedEvent(registerOfPcr(pcr), aaelTag, Buffer.from(`${domain} ${operation} ${content}`))
}

/** EV_EVENT_TAG: the digest covers tag, size and data. */
export function taggedEvent(index: number, tag: number, data: Uint8Array): TcgEvent {
  return {
    index,
    type: tcgEventType.eventTag,
    data: Buffer.concat([u32(tag), u32(data.length), data]),
  }
}

/** EV_SEPARATOR. */
export function separatorEvent(index: number): TcgEvent {
  return { index, type: tcgEventType.separator, data: Buffer.alloc(4) }
}

/** EV_EFI_VARIABLE_DRIVER_CONFIG of a variable of the EFI global namespace. */
export function efiVariableEvent(index: number, name: string, data: Uint8Array): TcgEvent {
  const nameBytes = Buffer.from(name, 'utf16le')
  return {
    index,
    type: tcgEventType.efiVariableDriverConfig,
    data: Buffer.concat([
      Buffer.from('61dfe48bca93d211aa0d00e098032b8c', 'hex'),
      u64(BigInt(name.length)),
      u64(BigInt(data.length)),
      nameBytes,
      data,
    ]),
  }
}

/** EV_EFI_BOOT_SERVICES_APPLICATION: a loaded image, whose digest is that of the image. */
export function bootApplicationEvent(index: number, file: string, image: Uint8Array): TcgEvent {
  const name = Buffer.from(`${file}\0`, 'utf16le')
  const header = Buffer.from([4, 4, 0, 0])
  header.writeUInt16LE(4 + name.length, 2)
  const path = Buffer.concat([header, name, Buffer.from('7fff0400', 'hex')])
  return {
    index,
    type: tcgEventType.efiBootServicesApplication,
    data: Buffer.concat([
      u64(0x7db71018n),
      u64(BigInt(image.length)),
      u64(0n),
      u64(BigInt(path.length)),
      path,
    ]),
    measured: image,
  }
}

/** EV_IPL: the kernel command line as GRUB measures it. */
export function kernelCommandLineEvent(index: number, commandLine: string): TcgEvent {
  return {
    index,
    type: tcgEventType.ipl,
    data: Buffer.from(`kernel_cmdline: ${commandLine}\0`),
    measured: Buffer.from(commandLine),
  }
}

/** The events of a small but plausible guest: firmware, configuration, kernel, command line, one pulled image. */
export function guestBoot(): TcgEvent[] {
  return [
    {
      index: 1,
      type: tcgEventType.efiPlatformFirmwareBlob2,
      data: Buffer.concat([Buffer.from([11]), Buffer.from('Fv(VIRTUAL)'), u64(0xffc00000n), u64(0x1000n)]),
      measured: Buffer.from('virtual firmware volume'),
    },
    efiVariableEvent(1, 'SecureBoot', Buffer.from([1])),
    separatorEvent(1),
    bootApplicationEvent(2, 'kernel', Buffer.from('virtual kernel image')),
    { index: 2, type: tcgEventType.efiAction, data: Buffer.from('Exit Boot Services Invocation') },
    kernelCommandLineEvent(3, 'console=ttyS0 agent.log=info'),
    aaelEvent('github.com/confidential-containers', 'PullImage', '{"image":"alpine","digest":"sha256:00"}'),
  ]
}
