# grow.sh IMAGE BEFORE AFTER LAST: the image behind the disk grows while it is served: nobody has it open; then it is held open
. /root/lib.sh
image=$1
attach
same size "$(size_of $dev)" "$2"
grown() { # grown SIZE SECONDS
	local i=0
	while [ "$(size_of $dev)" != "$1" ] && [ $i -lt $(($2 * 10)) ]; do sleep 0.1; i=$((i + 1)); done
	same size "$(size_of $dev)" "$1"
}
t=$(uptime)
check host "truncate -s $3 $image"
say "the image has grown, nobody has the disk open"
# (reading the size opens the disk for a moment: the driver asks again at each last close)
grown "$3" 15
say "seen after $(since "$t") s"
last=$(($3 / 512 - 1))
dd if=/dev/urandom of=/tmp/a bs=512 count=1 2>/dev/null
check dd if=/tmp/a of=$bd bs=512 seek=$last oflag=direct conv=notrunc status=none
dd if=$bd of=/tmp/b bs=512 skip=$last count=1 iflag=direct status=none
check cmp /tmp/a /tmp/b
exec 5<$bd
check host "truncate -s $4 $image"
say "it has grown again, and the disk is open"
sleep 4
same "size while it is open" "$(cat /sys/block/etherd!$dev/size)" $(($3 / 512))
exec 5<&-
say "closed"
grown "$4" 15
finish
