# three.sh DEV SIZE...: several disks at once, all under load, none with the data of another
. /root/lib.sh
devs=() sizes=()
while [ $# -gt 0 ]; do devs+=("$1"); sizes+=("$2"); shift 2; done
attach "${devs[@]}"
for i in "${!devs[@]}"; do same "size of ${devs[i]}" "$(size_of "${devs[i]}")" "${sizes[i]}"; done
pids=()
for d in "${devs[@]}"; do
	bd=/dev/etherd/$d
	verified "all-$d" --rw=randwrite --bs=8k --size=16M &
	pids+=($!)
done
for p in "${pids[@]}"; do wait "$p" || { say "FAILED: fio"; failed=1; }; done
for d in "${devs[@]}"; do
	for i in $(seq 64); do echo "$d block $i"; done >"/tmp/$d"
	dd if="/tmp/$d" of="/dev/etherd/$d" bs=4k oflag=direct conv=sync status=none
done
for d in "${devs[@]}"; do
	dd if="/dev/etherd/$d" bs=4k count=1 iflag=direct status=none | head -n 64 >/tmp/got
	check cmp "/tmp/$d" /tmp/got
done
finish
