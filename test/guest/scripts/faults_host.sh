# faults_host.sh [FLAG...]: the machine below the target gives trouble while the driver runs verified I/O: interfaces that go, come, change their
# name and MTU; a clock that jumps; no descriptors, no memory, no room for state; a killed and a stopped daemon. No I/O error is allowed.
. /root/lib.sh
. /root/inside.sh
modprobe brd rd_nr=1 rd_size=4096
{ mkfs.ext4 -q /dev/ram0 && mount -t ext4 /dev/ram0 /tmp/state; } || die "ext4"
truncate -s 256M /tmp/disk.img
serve "$@" -i t0 -i t1 e0.1=/tmp/disk.img
attach
load_on e0.1 load
moves "before"
# used IF: answers arrive on this interface, within a minute
used() {
	local f=/sys/class/net/$1/statistics/rx_packets a i=0
	a=$(($(cat $f) + 50))
	while [ "$(cat $f)" -lt $a ] && [ $i -lt 300 ]; do sleep 0.2; i=$((i + 1)); done
	[ "$(cat $f)" -ge $a ]
}

say "interfaces"
check ip -n tgt link set t0 down
moves "t0 is down"
check ip -n tgt link set t0 up
moves "t0 is up"
check used h0
check ip -n tgt link set t0 down
check ip -n tgt link set t0 name other
moves "t0 has another name"
check ip -n tgt link set other name t0
check ip -n tgt link set t0 up
moves "t0 has its name again"
check used h0
for m in 1500 4000 9000; do
	check ip -n tgt link set t0 mtu $m
	check ip -n tgt link set t1 mtu $m
	ip link set h0 mtu $m
	ip link set h1 mtu $m
	moves "MTU $m"
done

say "the clock"
now=$(date +%s)
check date -s @$((now + 7200)) 
moves "two hours ahead"
check date -s @$((now - 86400))
moves "a day back"
check date -s @$((now + 60))
moves "right again"

say "descriptors"
d=$served
before=$(ls /proc/$d/fd | wc -l)
say "the target has $before descriptors"
check [ "$before" -gt 5 ]
prlimit --pid "$d" --nofile=$((before + 1)):4096
truncate -s 1M /tmp/more.img
ctl add 0.9 /tmp/more.img >/tmp/add.txt 2>&1
r=$?
say "add without descriptors: $r: $(tr '\n' ' ' </tmp/add.txt)"
check [ $r -ne 0 ]
moves "no descriptors"
prlimit --pid "$d" --nofile=1024:4096
# Either the disk could not be opened, and that is tried again, or the request did not even get through.
ctl ls 0.9 >/dev/null 2>&1 || check ctl add 0.9 /tmp/more.img
i=0
until ctl ls 0.9 | grep -q 'e0.9 *serving' || [ $i -gt 120 ]; do sleep 0.5; i=$((i + 1)); done # it is tried again and again
check eval "ctl ls 0.9 | grep -q 'e0.9 *serving'"
check ctl rm 0.9 --force # the driver has looked at it

say "room for state"
for f in filler filler2; do dd if=/dev/zero of=/tmp/state/$f bs=1k conv=fsync 2>/dev/null; done # to the last block
timeout 20 /root/goaoe config set -i h0 e0.1 "does not fit" >/tmp/cfg.txt 2>&1
r=$?
say "a config string without room: $r: $(tr '\n' ' ' </tmp/cfg.txt)"
check [ $r -ne 0 ]
moves "the state folder is full"
rm -f /tmp/state/filler*
echo u >/proc/sysrq-trigger # as after an error of its disk
sleep 2
check grep -q "/tmp/state ext4 ro" /proc/mounts
timeout 20 /root/goaoe config set -i h0 e0.1 "read only" >/tmp/cfg.txt 2>&1
r=$?
say "a config string in a read-only folder: $r: $(tr '\n' ' ' </tmp/cfg.txt)"
check [ $r -ne 0 ]
moves "the state folder is read-only"
check mount -o remount,rw /tmp/state
check timeout 20 /root/goaoe config force -i h0 e0.1 "it fits"

say "memory"
check kill -TERM "$served"
wait $served
G=/sys/fs/cgroup/target
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup /sys/fs/cgroup 2>/dev/null
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir $G || die "no memory controller"
GROUP=$G serve "$@" -i t0 -i t1 e0.1=/tmp/disk.img
moves "a daemon in a group of its own"
m=$(cat $G/memory.current)
say "it uses $((m >> 20)) MiB"
echo $((m * 9 / 10)) >$G/memory.high # squeezed: it is slowed down
moves "less memory than it wants"
grep -E '^high' $G/memory.events
echo max >$G/memory.high
echo 4M >$G/memory.max # and now far too little: the kernel ends it
i=0
while kill -0 "$served" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.2; i=$((i + 1)); done
check grep -qE '^oom_kill [1-9]' $G/memory.events
echo max >$G/memory.max
sleep 1
serve "$@" -i t0 -i t1 e0.1=/tmp/disk.img
moves "killed by the kernel for its memory, and started"
check kill -KILL "$served"
sleep 1
serve "$@" -i t0 -i t1 e0.1=/tmp/disk.img
moves "killed and started"
d=$served
check kill -STOP "$d"
sleep 5
check kill -CONT "$d"
moves "stopped and continued"
end_load load
same "I/O errors" "$(io_errors)" 0
timeout 20 /root/goaoe config get -i h0 e0.1 | tee /tmp/cfg.txt
check grep -q 'it fits' /tmp/cfg.txt
ended
