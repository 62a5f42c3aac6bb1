# migrate.sh SWITCH: the administrator moves a disk from its old target to goaoe, by the shell script SWITCH on the host, while this
# machine has a file system on it mounted and a load running. Nothing may be lost, and nobody here does anything.
. /root/lib.sh
switch=$1
attach
size=$(size_of "$dev")
check mke2fs -q -t ext4 -F "$bd" 64m
mkdir -p /mnt
check mount "$bd" /mnt
head -c 8388608 /dev/urandom >/mnt/before
sum=$(sha256sum </mnt/before)
check sync
# the load has the part of the disk behind the file system for itself
load 20 --offset=128m --size=64m --allow_mounted_write=1 &
under=$!
under_load 2
t=$(uptime)
host sh "$switch" || die "the move failed on the host"
host target-term
host target-start || die "the new target does not start"
say "ok: the host took $(since "$t") s to move"
wait $under || failed=1
head -c 4194304 /dev/urandom >/mnt/after
check sync
same "what was written before" "$(sha256sum </mnt/before)" "$sum"
check umount /mnt
echo 3 >/proc/sys/vm/drop_caches
check e2fsck -f -n "$bd"
check mount "$bd" /mnt
same "what was written before, read again" "$(sha256sum </mnt/before)" "$sum"
check umount /mnt
same size "$(size_of "$dev")" "$size"
finish
