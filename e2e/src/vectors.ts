import { pathToFileURL } from 'node:url'

/** The folder of recorded evidence: `KBS_VECTORS`, or `shared/vectors` beside the checkout. It need not exist. */
export function vectorsFolder(): URL {
  const configured = process.env.KBS_VECTORS
  if (configured) return pathToFileURL(`${configured.replace(/\/+$/, '')}/`)
  return new URL('../../../shared/vectors/', import.meta.url)
}
