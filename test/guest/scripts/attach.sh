# attach.sh IMAGE SIZE: the disk without the aoe driver, by goaoe attach and the kernel's NBD driver, over two interfaces: a file system, faults
# of the target, of a path and of goaoe attach itself under verified load, growth, and the end of it
. /root/lib.sh
image=$1 size=$2
PATH=/root:$PATH
a="goaoe attach --timeout 60s e0.1"
nbd_errors() { dmesg | grep -cE 'I/O error|EXT4-fs error|Buffer I/O'; }

say "what is refused"
refuse timeout 20 goaoe attach --wait 1s e9.9
refuse timeout 20 goaoe attach -i eth7 e0.1
refuse goaoe detach e0.1

say "attach"
check timeout 30 $a
dev=$(readlink /dev/goaoe/e0.1)
n=${dev#/dev/}
same "size in bytes" "$(blockdev --getsize64 "$dev")" "$size"
same "read-only flag" "$(blockdev --getro "$dev")" 0
same "its mark" "$(cut -d: -f1,2 /sys/block/$n/backend)" goaoe:e0.1
refuse timeout 20 $a
goaoe attached
same "paths that are up" "$(goaoe attached | grep -o 'eth[01] up' | wc -l)" 2
same "write cache, as the kernel sees it" "$(cat /sys/block/$n/queue/write_cache)" "write back"

say "a file system"
check mkfs.ext4 -q -F "$dev"
mkdir -p /mnt/a
check mount "$dev" /mnt/a
for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/a/big$i bs=1M count=2 2>/dev/null; done
mkdir /mnt/a/many
for i in $(seq 100); do echo "file $i $RANDOM" >/mnt/a/many/f$i; done
(cd /mnt/a && find . -type f | sort | xargs sha256sum) >/tmp/sums
sync
refuse goaoe detach e0.1
goaoe detach e0.1 2>&1 | grep -q "mounted on /mnt/a" || { say "FAILED: it does not say where it is mounted"; failed=1; }

say "load, and the target killed under it"
fio --name=load --filename=/mnt/a/load --size=48M --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k --verify=crc32c \
	--verify_fatal=1 --verify_backlog=256 --randrepeat=0 --time_based --runtime=40 --fsync=64 --output=/tmp/load.txt & fio=$!
moved() { awk '{ print $3 + $7 }' /sys/block/$n/stat; }
moves() { # moves: the load goes on: waits for 2000 more sectors, at most 60 s
	local m=$(($(moved) + 2000)) i=0
	while [ "$(moved)" -lt $m ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
	[ "$(moved)" -ge $m ]
}
check moves
check host target-kill
sleep 3
check host target-start
check moves
say "a path is cut, and comes back"
check host link-down 0
check moves
goaoe attached
check host link-up 0
check moves
say "goaoe attach is killed, and takes over"
p=$(goaoe attached --json | sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' | head -n 1)
check kill -9 "$p"
sleep 1
goaoe attached | grep -q dead || { say "FAILED: not shown as dead"; failed=1; }
check timeout 30 $a
same "the same device" "$(readlink /dev/goaoe/e0.1)" "$dev"
check moves
wait $fio
same "exit status of fio" $? 0
grep -E '^ *(READ|WRITE):' /tmp/load.txt || cat /tmp/load.txt
check rm /mnt/a/load
check umount /mnt/a
echo 3 >/proc/sys/vm/drop_caches
check fsck.ext4 -f -n "$dev"
check mount "$dev" /mnt/a
check sh -c 'cd /mnt/a && sha256sum -c --quiet /tmp/sums'
same "files compared" "$(wc -l </tmp/sums)" 104
check umount /mnt/a

say "SIGTERM while it is open: it waits for the end of that"
p=$(goaoe attached --json | sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' | head -n 1)
exec 4<"$dev"
check kill "$p"
sleep 1
check kill -0 "$p"
check dd if="$dev" of=/dev/null bs=64k count=4 iflag=direct status=none
exec 4<&-
i=0; while kill -0 "$p" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
refuse kill -0 "$p"
refuse goaoe detach e0.1
same "size when it is detached" "$(cat /sys/block/$n/size)" 0
refuse [ -e /dev/goaoe/e0.1 ]

say "read-only, on a device of our choice, with four connections"
check timeout 30 goaoe attach -r --device nbd5 --connections 4 e0.1
same "read-only flag" "$(blockdev --getro /dev/nbd5)" 1
refuse dd if=/dev/zero of=/dev/nbd5 bs=4k count=1 oflag=direct status=none
check sh -c 'for i in 1 2 3 4; do dd if=/dev/nbd5 of=/dev/null bs=1M count=4 iflag=direct status=none & done; wait'
check goaoe detach e0.1

say "growth"
check timeout 30 $a
check host truncate -s $((size + (16 << 20))) "$image"
i=0; while [ "$(blockdev --getsize64 "$dev")" = "$size" ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
same "size after growth" "$(blockdev --getsize64 "$dev")" $((size + (16 << 20)))

say "by force, with the target gone"
exec 4<"$dev"
check host target-kill
dd if="$dev" of=/dev/null bs=64k count=1 iflag=direct status=none 2>/dev/null & d=$!
sleep 1
refuse goaoe detach e0.1
check timeout 30 goaoe detach --force e0.1
wait $d
same "the read failed" $(($? != 0)) 1
exec 4<&-
same "number of I/O errors before the force" "$(dmesg | grep -E 'I/O error|EXT4-fs error|Buffer I/O' | grep -vcE "nbd5|dev $n, sector 0 op 0x0:\(READ\)|Buffer I/O error on dev $n, logical block 0, async page read")" 0
dmesg | grep -E 'nbd' | tail -n 12
[ $failed = 0 ] && say PASSED
exit $failed
