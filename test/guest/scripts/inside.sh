# inside.sh: target and driver in one guest, where the clock, devices that fail and memory are ours to break. The target is in a
# network namespace of its own, with the interface t0 (and t1), the driver uses h0 (and h1) at the other end.
ulimit -n 1024
mkdir -p /tmp/state /run/netns /run/goaoe
mount -t tmpfs tmpfs /run/netns
modprobe -a veth dm_mod || die "modprobe"
ip netns add tgt || die "ip netns"
for i in 0 1; do
	ip link add h$i type veth peer name t$i netns tgt || die "veth"
	ip link set h$i mtu 9000 up
	ip -n tgt link set t$i mtu 9000 up
	for f in /proc/sys/net/ipv6/conf/h$i/disable_ipv6; do echo 1 >$f 2>/dev/null; done
done
ctl() { /root/goaoe "$@"; }
# serve FLAG...: starts the target in the background, in the control group $GROUP if that is set; $served is its process
serve() {
	local n i=0
	: >>/tmp/target.log
	n=$(grep -c 'goaoe: ready' /tmp/target.log)
	GROUP=${GROUP:-} sh -c '[ -z "$GROUP" ] || echo $$ >"$GROUP/cgroup.procs"; exec "$@"' sh \
		ip netns exec tgt /root/goaoe serve --state-dir /tmp/state --socket /run/goaoe/control "$@" >>/tmp/target.log 2>&1 &
	served=$!
	export GOAOE_SOCKET=/run/goaoe/control
	until [ "$(grep -c 'goaoe: ready' /tmp/target.log)" -gt "$n" ] || [ $i -gt 300 ] || ! kill -0 $served 2>/dev/null; do sleep 0.1; i=$((i + 1)); done
	kill -0 $served 2>/dev/null || { cat /tmp/target.log; die "the target does not run"; }
}
# sectors [DEV]: finished so far
sectors() { awk '{ print $3 + $7 }' "/sys/block/etherd!${1:-$dev}/stat"; }
# moves WHAT [DEV]: the load goes on. The guest is slow, and what it waits for may be the processor: a minute is not long.
moves() {
	local a i=0
	a=$(($(sectors "$2") + 100))
	while [ "$(sectors "$2")" -lt $a ] && [ $i -lt 300 ]; do sleep 0.2; i=$((i + 1)); done
	if [ "$(sectors "$2")" -ge $a ]; then say "ok: I/O runs: $1"; else say "FAILED: no I/O: $1"; tail -n 5 /tmp/target.log; failed=1; fi
}
# load_on DEV NAME [OPTION...]: verified passes of random writes, one after the other until end_load NAME. With --continue_on_error=io
# errors of the disk are allowed, wrong data never is.
load_on() {
	local d=$1 n=$2
	shift 2
	(
		while [ ! -e "/tmp/stop-$n" ]; do
			fio --name="$n" --filename=/dev/etherd/$d --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k --size=32M --io_size=1M --verify=crc32c \
				--verify_fatal=1 --do_verify=1 --randrepeat=0 --output="/tmp/$n.txt" "$@"
			echo $? >>"/tmp/codes-$n"
			cat "/tmp/$n.txt" >>"/tmp/all-$n.txt"
		done
	) &
	eval "loader_$n=$!"
}
# end_load NAME: waits for the pass that runs, and judges all of them
end_load() {
	local n=$1
	touch "/tmp/stop-$n"
	eval "wait \$loader_$n"
	same "passes of $n that failed, of $(wc -l <"/tmp/codes-$n")" "$(grep -cv '^0$' "/tmp/codes-$n")" 0
	grep -E 'verify: bad|verify type' "/tmp/all-$n.txt" && { say "FAILED: wrong data in $n"; failed=1; }
}
ended() { # what the target said, and the result
	cat /tmp/target.log
	[ $failed = 0 ] && say PASSED
	exit $failed
}
