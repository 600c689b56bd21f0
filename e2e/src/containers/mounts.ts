/** A line of `/proc/<pid>/mountinfo` (proc(5)). */
export interface MountInfo {
  readonly target: string
  readonly type: string
  readonly options: readonly string[]
}

export function mountsIn(mountinfo: string): readonly MountInfo[] {
  return mountinfo
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ')
      const [, , , , target = '', options = ''] = left.split(' ')
      const [type = ''] = right.split(' ')
      return { target, type, options: options.split(',') }
    })
}

/** Where files can be written, apart from what the kernel and the engine mount in every container. */
export function writableTargets(mountinfo: string): readonly string[] {
  return mountsIn(mountinfo)
    .filter(({ target, type, options }) => {
      const always = ['/dev', '/dev/pts', '/dev/shm'].includes(target) || type === 'proc'
      return options.includes('rw') && !always
    })
    .map(({ target }) => target)
}
