#!/bin/sh
# boot.sh ROOT CHECKOUT: makes a small host in memory, below the empty folder ROOT, and becomes its systemd. To be run as root
# in namespaces of its own of every kind but that of users. Nothing of the machine is there but /usr and the checkout, both
# read-only: what systemd cleans up and sets, it cleans up and sets in memory.
set -eu
root=$1
checkout=$2
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$root"
cd "$root"
mkdir -p dev etc/redis etc/ssl opt proc root run srv/passport-kbs sys tmp usr var/lib/redis var/log
chmod 1777 tmp
mount --bind /usr usr && mount -o remount,bind,ro usr
mount --bind "$checkout" srv/passport-kbs && mount -o remount,bind,ro srv/passport-kbs
for link in bin sbin lib lib32 lib64; do
  [ ! -e "/$link" ] || ln -s "usr/$link" "$link"
done
cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/hosts /etc/ld.so.cache etc/
cp -r /etc/ssl/certs etc/ssl/
cat /proc/sys/kernel/random/uuid | tr -d - > etc/machine-id

mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t tmpfs tmpfs sys
mkdir -p sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -o remount,ro sys
mount -t tmpfs -o mode=0755 tmpfs dev
while read -r device major minor; do
  mknod -m 0666 "dev/$device" c "$major" "$minor"
done << END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
: > dev/console
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
mkdir dev/pts dev/shm dev/mqueue
mount -t tmpfs -o mode=0755 tmpfs run
chown redis: var/lib/redis
ip link set lo up

# of the distribution's units only the journal and Redis
mkdir -p units/multi-user.target.wants
target() { printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n%s\n' "$1" "$2" > "units/$1.target"; }
target sysinit 'Wants=systemd-journald.socket systemd-journald-dev-log.socket'
target sockets ''
target basic 'Requires=sysinit.target sockets.target
After=sysinit.target sockets.target'
target multi-user 'Requires=basic.target
After=basic.target
AllowIsolate=yes'
for name in shutdown network network-online; do target "$name" ''; done
cp /usr/lib/systemd/system/systemd-journald.service /usr/lib/systemd/system/systemd-journald.socket \
  /usr/lib/systemd/system/systemd-journald-dev-log.socket /usr/lib/systemd/system/redis-server.service units/
mount --bind units usr/lib/systemd/system
mkdir none
mount --bind none usr/lib/systemd/system-generators
mkdir -p etc/systemd
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' > etc/systemd/journald.conf

pivot_root . root
cd /
umount -l root
# systemd mounts credentials in one process for another
mount --make-rshared /
export container=other PATH=/usr/sbin:/usr/bin
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=no
