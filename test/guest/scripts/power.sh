# power.sh COMMAND: the guest is the target here, on a disk that loses what was not flushed. Runs until the power is cut.
# With DISK=file, COMMAND finds a file on an ext4 of that disk in $D, otherwise the disk itself.
. /root/lib.sh
chmod +x /root/goaoe /root/vblade 2>/dev/null
D=/dev/vdb
[ -b $D ] || die "no $D"
if [ "$1" = file ]; then
	mount -t ext4 $D /mnt || die "mount"
	D=/mnt/disk.img
fi
export D
shift
mkdir -p /tmp/state
say "serving: $*"
eval "$*"
die "the target ended with $?"
