#!/bin/sh
# Installs the programs that `pnpm build` has made, the Node that the checkout brings, and the units. As root, in a checkout:
#   docker/systemd/install.sh RELEASE
# A release has a folder of its own below /opt/passport-kbs; `current` says which one runs. What runs is not restarted.
# DESTDIR goes before every path, for a package or an image.
set -eu
# folders above ours that are made are for everybody, too
umask 022
release=${1:?a name for this release, such as 0.1.0}
root=${DESTDIR:-}
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
repository=$(CDPATH='' cd "$here/../.." && pwd)
home=$root/opt/passport-kbs

case $release in
'' | current* | *.partial | *[!A-Za-z0-9._+-]* | [!A-Za-z0-9]*)
  echo "$release: a release is named with letters, digits and . _ + -" >&2
  exit 2
  ;;
esac
[ ! -e "$home/$release" ] || {
  echo "$home/$release is there already: releases are not changed" >&2
  exit 1
}
# the file in node_modules/.bin is a script around it
node=$("$repository/node_modules/.bin/node" -p process.execPath)

install -d -m 0755 "$home" "$home/$release.partial"
install -m 0755 "$node" "$home/$release.partial/node"
for program in kbs-attest kbs-resource kbs attestation-service kbsctl; do
  install -m 0644 "$repository/apps/$program/dist/main.js" "$home/$release.partial/$program.mjs"
  install -m 0644 "$repository/apps/$program/dist/sbom.cdx.json" "$home/$release.partial/$program.cdx.json"
done
mv -T "$home/$release.partial" "$home/$release"

install -D -m 0644 "$here/passport-kbs@.service" "$root/etc/systemd/system/passport-kbs@.service"
install -D -m 0644 "$here/passport-kbs.sysusers.conf" "$root/etc/sysusers.d/passport-kbs.conf"
install -d -m 0755 "$root/etc/passport-kbs"

# in one step, so that there is always a release to start; -T: one that an interrupted run has left is replaced, not followed
ln -sfT "$release" "$home/current.new"
mv -T "$home/current.new" "$home/current"
echo "$home/current is now $release"
