# basic.sh SIZE PAYLOAD: a disk from discovery to fio, SIZE being its exact size in bytes, PAYLOAD what one frame carries
. /root/lib.sh
size=$1 payload=$2
attach
same "size in bytes" "$(size_of $dev)" "$size"
same "payload of a frame" "$(cat /sys/block/etherd!$dev/payload)" "$payload"
same "read-only flag" "$(blockdev --getro $bd)" 0

say "a file system"
check mkfs.ext4 -q -F $bd
mkdir -p /mnt/a
check mount $bd /mnt/a
for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/a/big$i bs=1M count=2 2>/dev/null; done
mkdir /mnt/a/many
for i in $(seq 200); do echo "file $i $RANDOM" >/mnt/a/many/f$i; done
(cd /mnt/a && find . -type f | sort | xargs sha256sum) >/tmp/sums
check umount /mnt/a
echo 3 >/proc/sys/vm/drop_caches
check fsck.ext4 -f -n $bd
check mount $bd /mnt/a
check sh -c 'cd /mnt/a && sha256sum -c --quiet /tmp/sums'
same "files compared" "$(wc -l </tmp/sums)" 204
check umount /mnt/a

say "fio"
check verified random --rw=randwrite --bsrange=512-64k --size=100% --io_size=24M
check verified sequential --rw=write --bs=128k --size=24M

say "the last sector, and what is behind it"
last=$((size / 512 - 1))
dd if=/dev/urandom of=/tmp/a bs=512 count=1 2>/dev/null
check dd if=/tmp/a of=$bd bs=512 seek=$last oflag=direct conv=notrunc status=none
dd if=$bd of=/tmp/b bs=512 skip=$last count=2 iflag=direct status=none
check cmp /tmp/a /tmp/b
finish
