import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { isChipId } from './csv-evidence.ts'
import {
  type HygonCertificateSource,
  HygonCertificatesUnavailable,
  hskCekOffer,
} from './hygon-certificate-source.ts'

/** Where Trustee looks for offline certificates. */
export const defaultHygonDirectory = '/opt/hygon/csv/hsk_cek'

/** The calls of `node:fs/promises` that a certificate directory needs. */
export interface DirectoryAccess {
  readFile(path: string): Promise<Uint8Array>
  writeFile(path: string, bytes: Uint8Array): Promise<void>
  mkdir(path: string, options: { recursive: true }): Promise<unknown>
  rename(from: string, to: string): Promise<void>
}

/** A directory with a file `<chip id>/hsk_cek.cert` for each chip, as Trustee and Hygon's tools lay it out. */
export interface HygonDirectory extends HygonCertificateSource {
  /** Puts a chip's certificates in place; a reader sees the old file or the whole new one. */
  store(chipId: string, certificates: Uint8Array): Promise<void>
}

const fileName = 'hsk_cek.cert'

/**
 * Opens the directory of HSK and CEK certificates at `path` (spec 04 §9.5, step 4). Files are read at each look-up, so
 * that an operator can add one without a restart. A missing file is no failure, an unreadable one is.
 */
export function hygonDirectory(path: string, access: DirectoryAccess): HygonDirectory {
  return {
    name: `directory ${path}`,
    async hskCek(chipId) {
      try {
        return hskCekOffer(await access.readFile(join(path, checkedChipId(chipId), fileName)))
      } catch (cause) {
        if (isMissing(cause)) return undefined
        throw new HygonCertificatesUnavailable(`cannot read ${fileName} under ${path}`, { cause })
      }
    },
    async store(chipId, certificates) {
      const folder = join(path, checkedChipId(chipId))
      const draft = join(folder, `.${fileName}.${randomUUID()}`)
      await access.mkdir(folder, { recursive: true })
      await access.writeFile(draft, certificates)
      await access.rename(draft, join(folder, fileName))
    },
  }
}

/** The id becomes part of a path: whoever calls has checked it, and this stops whoever has not. */
function checkedChipId(chipId: string): string {
  if (!isChipId(chipId)) throw new TypeError('not a chip id')
  return chipId
}

function isMissing(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ENOENT' || code === 'ENOTDIR'
}
