# late.sh: the target is started after the driver was loaded, and once more after it was gone; no command to the driver helps
. /root/lib.sh
modprobe aoe || die "modprobe aoe"
sleep 3                                    # the driver's query of the start is over, the next one comes after 60 s
[ ! -b $bd ] || die "$bd is there before the target"
t=$(uptime)
host target-start
appears 10 || die "no $bd within 10 s of the target's start"
say "ok: $bd is there $(since "$t") s after the target was started"
check dd if=$bd of=/dev/null bs=1M count=4 iflag=direct status=none
check verified late --rw=randwrite --bs=4k --size=8M
finish
