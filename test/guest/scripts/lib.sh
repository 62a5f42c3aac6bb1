# lib.sh: what the scripts that run in the guest share.
dev=e0.1                                   # the disk that most of them use
bd=/dev/etherd/$dev
failed=0
start=$(cut -d' ' -f1 /proc/uptime)
uptime() { cut -d' ' -f1 /proc/uptime; }
since() { awk -v a="$1" -v b="$(uptime)" 'BEGIN { printf "%.2f", b - a }'; }
say() { printf '[%6.2f] %s\n' "$(since "$start")" "$*"; }
die() { say "FAILED: $*"; dmesg | tail -n 15; exit 1; }
# check COMMAND...: has to succeed; the script goes on either way and fails at its end
check() { if "$@"; then say "ok: $*"; else say "FAILED: $*"; failed=1; fi; }
# refuse COMMAND...: has to fail
refuse() { if "$@"; then say "FAILED: went through: $*"; failed=1; else say "ok: refused: $*"; fi; }
size_of() { blockdev --getsize64 "/dev/etherd/$1"; }
same() { if [ "$2" = "$3" ]; then say "ok: $1 is $2"; else say "FAILED: $1 is $2, not $3"; failed=1; fi; }

# appears SECONDS [DEV]: the disk is there within that time, without any command to the driver
appears() {
	local i=0 n=$(($1 * 20)) d=/dev/etherd/${2:-$dev}
	while [ ! -b "$d" ] && [ $i -lt $n ]; do sleep 0.05; i=$((i + 1)); done
	[ -b "$d" ]
}
# attach [DEV...]: loads the driver and waits for the disks
attach() {
	local t d
	t=$(uptime)
	modprobe aoe || die "modprobe aoe"
	for d in "${@:-$dev}"; do
		appears 15 "$d" || die "no /dev/etherd/$d within 15 s of modprobe aoe"
		say "ok: $d is there $(since "$t") s after modprobe"
	done
}

# verified NAME FIO-OPTION...: a fio job that checks what it wrote; direct, 16 requests at a time
verified() {
	local name=$1
	shift
	fio --name="$name" --filename="$bd" --direct=1 --ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 --do_verify=1 \
		--randrepeat=0 --output="/tmp/$name.txt" "$@"
	local r=$?
	# ended by enough, which is no error
	[ $r != 128 ] || [ ! -e /tmp/enough ] || ! grep -q 'err= 0:' "/tmp/$name.txt" || r=0
	say "fio $name: exit status $r; $(grep -E '^ *(READ|WRITE):' "/tmp/$name.txt" | sed 's/ *\([A-Z]*\): bw=\([^ ]*\) .*io=\([^ ]*\) .*/\1 \3 at \2/' | tr '\n' ' ')"
	[ $r = 0 ] || cat "/tmp/$name.txt"
	return $r
}
# load SECONDS [FIO-OPTION...]: as above, but writing and verifying in turns until the time is over: a steady load
load() {
	local secs=$1
	shift
	verified load --rw=randwrite --bs=4k --size=1G --verify_backlog=256 --time_based --runtime="$secs" "$@"
}
# enough: ends the load that runs
enough() { touch /tmp/enough; kill -INT $(pidof fio); }
# sample FILE [DEV]: each 100 ms one line "uptime sectors" to FILE, sectors being all that were read and written so far
sample() {
	local f=/sys/block/etherd!${2:-$dev}/stat
	while sleep 0.1; do
		awk -v t="$(uptime)" '{ print t, $3 + $7 }' "$f" 2>/dev/null
	done >"$1"
}
# under_load SECONDS: waits until the load moves data (fio needs its time to start), and then so many seconds
under_load() {
	local f=/sys/block/etherd!$dev/stat i=0 a
	a=$(awk '{ print $3 + $7 + 2000 }' "$f")
	while [ "$(awk '{ print $3 + $7 }' "$f")" -lt "$a" ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
	sleep "$1"
}
# io_errors: how many the kernel has logged
io_errors() { dmesg | grep -cE 'I/O error|ata error|EXT4-fs error|Buffer I/O'; }
finish() {
	same "number of I/O errors in the kernel's log" "$(io_errors)" "${1:-0}"
	dmesg | grep -iE 'aoe:|etherd' | tail -n 8
	[ $failed = 0 ] && say PASSED
	exit $failed
}
