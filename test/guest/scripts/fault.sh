# fault.sh stop|kill|restart: under verified load the target is stopped for 8 s (SIGSTOP), killed and started 3 s later, or asked
# to end (SIGTERM) and started at once. Leaves in /out: rate (see sample in lib.sh), times (uptime of the fault and of its end), and fresh:
# the rate of the same load on the same machine right afterwards, by a driver that knows of no fault.
. /root/lib.sh
attach
load 120 --iodepth=64 & fio=$!
sample /out/rate & sampler=$!
under_load 7
a=$(uptime)
case $1 in
stop) check host target-stop; say "SIGSTOP"; sleep 8; check host target-cont; say "SIGCONT" ;;
kill) check host target-kill; say "SIGKILL"; sleep 3; check host target-start; say "started" ;;
restart) check host target-term; say "SIGTERM done"; check host target-start; say "started" ;;
esac
echo "$a $(uptime)" >/out/times
sleep 9.5
enough
wait $fio || { say "FAILED: fio"; failed=1; }
kill $sampler
cat /sys/kernel/debug/aoe/$dev | tr '\n' ' '; echo
check rmmod aoe
attach
load 60 --iodepth=64 & fio=$!
sample /out/fresh & sampler=$!
under_load 6
enough
wait $fio || { say "FAILED: fio"; failed=1; }
kill $sampler
check host target-alive
finish
