# multipath.sh: one disk over two interfaces, the first of which is taken down in the middle of the load and comes back
. /root/lib.sh
attach
sleep 1
frames() { cat /sys/class/net/$1/statistics/rx_packets; }
paths() { grep -cE '^[0-9a-f]{12}:' /sys/kernel/debug/aoe/$dev; }
same "paths to the disk" "$(paths)" 2
same "disks" "$(ls /dev/etherd | grep -c '^e[0-9]*\.[0-9]*$')" 1
a0=$(frames eth0) a1=$(frames eth1)
load 42 & fio=$!
sample /out/rate & sampler=$!
under_load 6
b0=$(frames eth0) b1=$(frames eth1)
say "frames so far: eth0 $((b0 - a0)), eth1 $((b1 - a1))"
check [ $((b0 - a0)) -gt 100 ]
check [ $((b1 - a1)) -gt 100 ]
t=$(uptime)
check host link-down 0
say "t0 is down"
sleep 18
u=$(uptime)
c0=$(frames eth0) c1=$(frames eth1)
say "frames meanwhile: eth0 $((c0 - b0)), eth1 $((c1 - b1))"
check [ $((c1 - b1)) -gt 100 ]
check host link-up 0
say "t0 is up"
echo "$t $u" >/out/times
wait $fio || { say "FAILED: fio"; failed=1; }
kill $sampler
d0=$(frames eth0)
say "frames after: eth0 $((d0 - c0)), eth1 $(($(frames eth1) - c1))"
check [ $((d0 - c0)) -gt 100 ]
check host target-alive
same "paths to the disk" "$(paths)" 2
finish
