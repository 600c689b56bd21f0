const encoded: Readonly<Record<string, string>> = { '/': '\\x2F', ':': '\\x3A' }
const decoded: Readonly<Record<string, string>> = { '\\x2F': '/', '\\x3A': ':' }

/**
 * The file name of a key: Trustee's, in which each `/` is the four characters `\x2F` (spec 01 §5.3). A `:`, which
 * Trustee refuses and some file systems cannot hold, is written `\x3A` in the same manner.
 *
 * @param key a valid key, so without a backslash: the encoding is reversible
 */
export function fileNameOfKey(key: string): string {
  return key.replace(/[/:]/g, (character) => encoded[character] ?? character)
}

/** The inverse; a name that no key has comes back as something that is not a valid key, or not the same file name. */
export function keyOfFileName(name: string): string {
  return name.replace(/\\x(2F|3A)/g, (sequence) => decoded[sequence] ?? sequence)
}

const temporaryPrefix = '~tmp-'

/** A name that no key has (`~` is not a key character), for a value that is still being written. */
export function temporaryFileName(random: string): string {
  return `${temporaryPrefix}${random}`
}

export function isTemporaryFileName(name: string): boolean {
  return name.startsWith(temporaryPrefix)
}
