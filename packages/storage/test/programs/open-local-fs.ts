import { openStorage } from '../../src/index.ts'

/** For the programs in this folder: the LocalFs namespace `n` in the folder named by the first argument. */
export async function openNamespace() {
  const [, , dirPath = ''] = process.argv
  const storage = await openStorage({ type: 'LocalFs', dirPath })
  return storage.namespace('n')
}
