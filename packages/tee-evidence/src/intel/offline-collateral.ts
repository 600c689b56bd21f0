import { stat } from 'node:fs/promises'
import { CheckFailure } from '../rejection.ts'
import type {
  CollateralDocument,
  CollateralRequest,
  CollateralSource,
  QuoteCollateral,
} from './collateral.ts'
import { type CollateralFiles, readLimited, readStored } from './collateral-files.ts'
import { type CollateralKey, collateralName, type TcbUpdateType, UpstreamError } from './collateral-key.ts'
import { maxToolFileBytes, parsePcsToolFile, type ToolFileDocuments } from './pcs-tool-file.ts'

/** A file of the operator that may be replaced while the program runs. */
export interface WatchedFile {
  /** Changes whenever the content does, e.g. the time of modification; undefined when there is no file. */
  version(): Promise<string | undefined>
  read(): Promise<Uint8Array>
}

/** A file on the disk. */
export function watchedFile(path: string): WatchedFile {
  return {
    async version() {
      try {
        const facts = await stat(path, { bigint: true })
        return `${facts.ino} ${facts.size} ${facts.mtimeNs}`
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
        throw error
      }
    },
    async read() {
      const bytes = await readLimited(path, maxToolFileBytes)
      if (bytes === undefined) throw new UpstreamError('absent', 'there is no offline file')
      return bytes
    },
  }
}

/**
 * Collateral out of a file of Intel's PcsClientTool, read again when it changes. What has expired in it is given all the
 * same: the verifier refuses it, or reports it.
 */
export function offlineFileCollateral(file: WatchedFile, update: TcbUpdateType): CollateralSource {
  let current: { version: string; documents: ToolFileDocuments } | undefined
  const load = async (): Promise<ToolFileDocuments> => {
    const version = await file.version()
    if (version === undefined) throw new UpstreamError('absent', 'there is no offline file')
    if (current?.version !== version)
      current = { version, documents: parsePcsToolFile(await file.read(), update) }
    return current.documents
  }
  return {
    collateralFor: (request) =>
      assembled(request, async (key) => {
        const documents = await load()
        return documents.document(key)
      }),
  }
}

/**
 * Collateral out of a directory as the collateral cache writes it: copy the cache directory of a machine that has a network.
 * A platform that has no document of the update type gets the standard one.
 */
export function offlineDirectoryCollateral(
  files: Pick<CollateralFiles, 'read'>,
  update: TcbUpdateType,
): CollateralSource {
  const known = new Map<string, { text: string; document: CollateralDocument }>()
  const read = async (name: string): Promise<CollateralDocument | undefined> => {
    const stored = await readStored(files, name)
    if (stored === undefined) return undefined
    const text = `${stored.document.issuerChain ?? ''}\n${Buffer.from(stored.document.body).toString('base64')}`
    const same = known.get(name)
    // the same object for the same content, so that a verifier need not verify it again
    if (same?.text === text) return same.document
    known.set(name, { text, document: stored.document })
    return stored.document
  }
  return {
    collateralFor: (request) =>
      assembled(request, async (key) => {
        const name = collateralName(key, update)
        const document = (await read(name)) ?? (await read(collateralName(key, 'standard')))
        if (document === undefined) throw new UpstreamError('absent', `no ${name} in the offline directory`)
        return document
      }),
  }
}

async function assembled(
  { tee, fmspc, issuer }: CollateralRequest,
  read: (key: CollateralKey) => Promise<CollateralDocument>,
): Promise<QuoteCollateral> {
  try {
    return {
      tcbInfo: await read({ kind: 'tcb-info', tee, fmspc }),
      qeIdentity: await read({ kind: 'qe-identity', tee }),
      pckCrl: await read({ kind: 'pck-crl', ca: issuer.ca }),
      rootCaCrl: await read({ kind: 'root-ca-crl' }),
    }
  } catch (cause) {
    const reason = cause instanceof UpstreamError ? cause.message : 'the offline collateral cannot be read'
    const outage = !(cause instanceof UpstreamError && cause.fault === 'absent')
    throw new CheckFailure('COLLATERAL_UNAVAILABLE', reason, { cause, outage })
  }
}
