# gone.sh SECONDS: under verified load the target is dead for so long
. /root/lib.sh
attach
load $(($1 + 16)) & fio=$!
sample /out/rate & sampler=$!
under_load 6
a=$(uptime)
check host target-kill
say "killed"
sleep "$1"
check host target-start
echo "$a $(uptime)" >/out/times
say "started"
wait $fio || { say "FAILED: fio"; failed=1; }
kill $sampler
finish
