# speed.sh REPETITIONS SECONDS: the same work on e0.1, e0.2 and e0.3 in turn. Each line of /out/results is one repetition: "WORK DISK RATE", the rate being
# requests a second of fio, or how often a second the work could be done.
. /root/lib.sh
reps=$1 secs=$2
attach e0.1 e0.2 e0.3

# rate WORK DISK FIO-OPTION...
rate() {
	local work=$1 disk=$2 r
	shift 2
	r=$(fio --name=x --filename=/dev/etherd/$disk --direct=1 --ioengine=libaio --iodepth=16 --norandommap --randrepeat=0 --time_based --ramp_time=300ms --runtime="$secs" \
		--output-format=terse --terse-version=3 "$@" | awk -F';' '/^3;/ { print $8 + $49 }')
	echo "$work $disk ${r:-0}" >>/out/results
	say "$work $disk ${r:-0}/s"
}
# took WORK DISK COMMAND...: has to succeed
took() {
	local work=$1 disk=$2 a b
	shift 2
	a=$(uptime)
	if ! "$@"; then say "FAILED: $work on $disk: $*"; failed=1; return; fi
	b=$(uptime)
	echo "$work $disk $(awk -v a="$a" -v b="$b" 'BEGIN { print 1 / (b - a + 0.001) }')" >>/out/results
	say "$work $disk $(awk -v a="$a" -v b="$b" 'BEGIN { print b - a }') s"
}
untar() { tar -C /mnt/a -xf /tmp/many.tar && sync; }
readback() { (cd /mnt/a && find many -type f | sort | xargs cat | cmp - /tmp/many.all); }

# An archive of small files and a few larger ones, as sources are.
mkdir -p /mnt/a /tmp/src/many
for i in $(seq 400); do head -c $((i % 40 * 512 + 100)) /dev/urandom >/tmp/src/many/f$(printf %03d "$i"); done
for i in 1 2 3 4; do head -c 1500000 /dev/urandom >/tmp/src/many/g$i; done
tar -C /tmp/src -cf /tmp/many.tar many
(cd /tmp/src && find many -type f | sort | xargs cat) >/tmp/many.all
rm -r /tmp/src

for rep in $(seq "$reps"); do
	# Who comes first has the guest's own caches cold: so the disks take turns in that.
	case $((rep % 3)) in 1) disks="e0.1 e0.2 e0.3" ;; 2) disks="e0.3 e0.1 e0.2" ;; *) disks="e0.2 e0.3 e0.1" ;; esac
	for bs in 512 1k 4k 16k 64k; do
		for rw in read write; do
			for disk in $disks; do rate "fio-$rw-$bs" $disk --rw=rand$rw --bs=$bs; done
		done
	done
	for disk in $disks; do
		bd=/dev/etherd/$disk
		took mkfs $disk sh -c "mkfs.ext4 -q -F $bd && sync"
		check mount $bd /mnt/a
		took untar $disk untar
		check umount /mnt/a
		echo 3 >/proc/sys/vm/drop_caches
		check mount $bd /mnt/a
		took read $disk readback
		check umount /mnt/a
	done
done
finish
