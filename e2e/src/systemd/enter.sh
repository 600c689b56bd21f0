#!/bin/sh
# enter.sh FOLDER CHECKOUT NAME: boots a small host (boot.sh) in namespaces and a control group of its own, and waits for its
# end. FOLDER is empty and ours; nothing of it or of the control group is left but the folder.
set -eu
mount --make-rprivate /
mkdir "$1/root" "$1/cgroup"
mount -t cgroup2 cgroup2 "$1/cgroup"
group=$1/cgroup/$3
mkdir "$group" "$group/host"
leave() {
  find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :
}
trap leave EXIT
trap 'exit 143' TERM INT
sh -c 'echo $$ > "$1/host/cgroup.procs" && shift && exec "$@"' sh "$group" \
  unshare --mount --pid --fork --uts --ipc --net --cgroup --kill-child \
  sh "$(dirname "$0")/boot.sh" "$1/root" "$2"
