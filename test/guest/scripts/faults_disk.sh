# faults_disk.sh [FLAG...]: the disk below an export fails with EIO, hangs, fills up, while the driver runs verified I/O; a second export on
# another disk does not notice.
. /root/lib.sh
. /root/inside.sh
modprobe brd rd_nr=3 rd_size=65536
sectors=131072
table() { echo "0 $sectors $1"; }
dmsetup --noudevsync create bad --table "$(table 'linear /dev/ram0 0')" || die "dmsetup"
dmsetup mknodes
[ -b /dev/mapper/bad ] || die "no /dev/mapper/bad"
switch() { # switch TABLE: another way for what lies below the export
	dmsetup --noudevsync suspend --noflush bad && dmsetup --noudevsync reload bad --table "$(table "$1")" && dmsetup --noudevsync resume bad
}
{ mkfs.ext4 -q /dev/ram2 && mount -t ext4 /dev/ram2 /mnt; } || die "ext4"
dd if=/dev/zero of=/mnt/filler bs=1M count=32 2>/dev/null
truncate -s 40M /mnt/full.img
serve "$@" -i t0 e0.1=/dev/mapper/bad e0.2=/dev/ram1 e0.3=/mnt/full.img
attach e0.1 e0.2 e0.3
load_on e0.2 beside

say "EIO for a while"
load_on e0.1 eio --continue_on_error=io
moves "before"
check switch "error"
sleep 3
check [ "$(dmesg | grep -c 'ata error')" -gt 0 ]
moves "the other export, meanwhile" e0.2
check switch "linear /dev/ram0 0"
moves "the disk is well again"
end_load eio
check grep -q 'level=ERROR.*e0.1.*errors' /tmp/target.log
check verified after --rw=randwrite --bs=4k --size=1M
dmesg -c >/dev/null

say "the disk hangs"
load_on e0.1 hang
moves "before"
check dmsetup --noudevsync suspend --noflush bad
sleep 2
a=$(sectors)
moves "the other export, meanwhile" e0.2
sleep 3
moves "the other export, still" e0.2
same "sectors finished on the disk that hangs" "$(($(sectors) - a))" 0
check dmsetup --noudevsync resume bad
moves "the disk goes on"
end_load hang
end_load beside
same "I/O errors" "$(io_errors)" 0

say "the disk fills up"
full() { fio --name="$1" --filename=/dev/etherd/e0.3 --direct=1 --ioengine=libaio --iodepth=8 --rw=write --bs=64k --size=40M --output="/tmp/$1.txt" "${@:2}"; }
full fill --continue_on_error=io
check [ "$(dmesg | grep -c 'ata error')" -gt 0 ]
say "the file has $(du -k /mnt/full.img | cut -f1) KiB"
check rm /mnt/filler
check full filled --verify=crc32c --verify_fatal=1 --do_verify=1
check kill -0 $served
ended
