#!/bin/sh
# Boots systemd on a throw-away copy of this machine: the root file system as the lower layer of an overlay whose changes are in
# memory, in namespaces of its own. Runs as the first process of them (machine_test.go starts it by unshare).
#
#   machine.sh DIR    DIR: an empty folder
set -eu
dir=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
root=$dir/root

# What this machine has enabled, and what it forbids, is none of the test's business. No package of ours is there.
rm -rf "$root/etc/systemd/system" "$root/var/lib/systemd" "$root/usr/sbin/policy-rc.d" "$root/etc/goaoe" "$root/var/lib/goaoe" "$root/var/log/journal"
mkdir -p "$root/etc/systemd/system" "$root/srv"
for unit in systemd-udevd systemd-udev-trigger systemd-modules-load systemd-sysctl systemd-timesyncd systemd-networkd; do
	ln -s /dev/null "$root/etc/systemd/system/$unit.service"
done
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
echo package-test >"$root/etc/hostname"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# Two ends of a cable: the target's and the initiator's.
ip link set lo up
ip link add t0 address 02:00:00:00:0a:00 type veth peer name i0 address 02:00:00:00:0b:00
ip link set t0 up
ip link set i0 up

# Not only chroot: services get mount namespaces of their own, whose root has to be this one.
cd "$root"
mkdir -p "$root/mnt"
pivot_root . mnt
umount -l mnt
exec chroot . env -i container=package-test PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
	/lib/systemd/systemd --log-target=null --show-status=no systemd.unit=basic.target
