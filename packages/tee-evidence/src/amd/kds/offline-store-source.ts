import { join } from 'node:path'
import { certificateLimit } from '../chain.ts'
import {
  type CrlRequest,
  type EndorsementOffer,
  type EndorsementSource,
  EndorsementUnavailable,
  type VcekRequest,
} from '../endorsement-source.ts'
import { crlLimit } from '../revocation.ts'
import { crlFile, fallbackVcekFile, offlineStorePath, vcekFile } from './addresses.ts'
import { nodeStoreFiles, type StoreFiles } from './store-files.ts'

export interface OfflineStoreOptions {
  /** Default: where upstream keeps it. */
  readonly path?: string
  /** Default: the file system. */
  readonly files?: StoreFiles
}

/**
 * A directory that an operator has filled (spec 03 §5.2): the file for the exact TCB, or `vcek.der` only when that
 * one does not exist. A file that cannot be read is a failure of the source, not an absence.
 */
export function createOfflineStoreSource(options: OfflineStoreOptions = {}): EndorsementSource {
  const { path = offlineStorePath, files = nodeStoreFiles } = options
  return {
    name: 'OfflineStore',
    async *vceks(request: VcekRequest): AsyncGenerator<EndorsementOffer> {
      const exact = await files.read(join(path, vcekFile(request)), certificateLimit)
      const certificate = exact ?? (await files.read(join(path, fallbackVcekFile(request)), certificateLimit))
      // Nothing to remember: the operator may put another file in its place at any time.
      if (certificate !== undefined) yield { certificate, accept() {}, refuse() {} }
    },
    async crl(request: CrlRequest): Promise<Uint8Array> {
      const crl = await files.read(join(path, crlFile(request)), crlLimit)
      if (crl === undefined) throw new EndorsementUnavailable('no CRL file', { absent: true })
      return crl
    },
  }
}
