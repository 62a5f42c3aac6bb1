# cable.sh SECONDS: verified load over a cable that loses, doubles and reorders frames
. /root/lib.sh
attach
check load "$1"
check verified whole --rw=randwrite --bs=4k --size=4M
cat /sys/kernel/debug/aoe/$dev | tr '\n' ' '; echo
finish
