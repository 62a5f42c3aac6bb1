# faults_disk.sh [FLAG...]: the disk below an export fails with EIO, hangs, fills up, while the driver runs verified I/O; a second export on
# another disk does not notice.
. /root/lib.sh
. /root/inside.sh
modprobe brd rd_nr=1 rd_size=65536
sectors=131072
table() { echo "0 $sectors $1"; }
dmsetup --noudevsync create bad --table "$(table 'linear /dev/ram0 0')" || die "dmsetup"
dmsetup mknodes
[ -b /dev/mapper/bad ] || die "no /dev/mapper/bad"
switch() { # switch TABLE: another way for what lies below the export
	dmsetup --noudevsync suspend --noflush bad && dmsetup --noudevsync reload bad --table "$(table "$1")" && dmsetup --noudevsync resume bad
}
mount -t tmpfs -o size=40M small /mnt
truncate -s 64M /mnt/full.img
truncate -s 64M /tmp/good.img
serve "$@" -i t0 e0.1=/dev/mapper/bad e0.2=/tmp/good.img e0.3=/mnt/full.img
attach e0.1 e0.2 e0.3
job() { # job DEV NAME OPTION...
	local d=$1 n=$2
	shift 2
	fio --name="$n" --filename=/dev/etherd/$d --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k --verify=crc32c --verify_fatal=1 --do_verify=1 \
		--verify_backlog=64 --randrepeat=0 --time_based --output="/tmp/$n.txt" "$@"
}

say "EIO for a while"
job e0.1 eio --runtime=14 --continue_on_error=io & eio=$!
job e0.2 beside --runtime=40 --size=48M & beside=$!
moves "before" 30
check switch "error"
sleep 3
errors=$(dmesg | grep -c 'ata error')
check [ "$errors" -gt 0 ]
moves "the other export, meanwhile" 10 e0.2
check switch "linear /dev/ram0 0"
moves "the disk is well again" 15
wait $eio
say "fio ended with $?: $(grep -E 'total_err|verify' /tmp/eio.txt | tr '\n' ' ')"
refuse grep -qE 'verify: bad|verify type mismatch' /tmp/eio.txt
check verified after --rw=randwrite --bs=4k --size=4M
dmesg -c >/dev/null

say "the disk hangs"
job e0.1 hang --runtime=18 & hang=$!
moves "before" 20
check dmsetup --noudevsync suspend --noflush bad
sleep 2
a=$(sectors) b=$(sectors e0.2)
sleep 6
same "I/O on the disk that hangs" "$(($(sectors) - a))" 0
check [ $(($(sectors e0.2) - b)) -gt 200 ]
say "the other export finished $(($(sectors e0.2) - b)) sectors meanwhile"
check dmsetup --noudevsync resume bad
moves "the disk goes on" 15
wait $hang || { say "FAILED: fio: $(cat /tmp/hang.txt)"; failed=1; }
same "I/O errors" "$(io_errors)" 0
wait $beside || { say "FAILED: the other export: $(cat /tmp/beside.txt)"; failed=1; }

say "the disk fills up"
fio --name=fill --filename=/dev/etherd/e0.3 --direct=1 --ioengine=libaio --iodepth=8 --rw=write --bs=64k --size=64M --continue_on_error=io --output=/tmp/fill.txt
check [ "$(dmesg | grep -c 'ata error')" -gt 0 ]
say "the file has $(du -k /mnt/full.img | cut -f1) KiB"
check mount -o remount,size=80M /mnt
check fio --name=filled --filename=/dev/etherd/e0.3 --direct=1 --ioengine=libaio --iodepth=8 --rw=write --bs=64k --size=64M --verify=crc32c --verify_fatal=1 --do_verify=1 --output=/tmp/filled.txt
ctl ls
check kill -0 $served
ended
