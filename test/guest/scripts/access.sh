# access.sh: two disks, e0.1 is for another initiator and e0.2 is for this one
. /root/lib.sh
attach e0.2
aoe-discover
sleep 3
refuse [ -b /dev/etherd/e0.1 ]
same "disks" "$(ls /dev/etherd | grep '^e[0-9]*\.[0-9]*$' | tr '\n' ' ')" "e0.2 "
bd=/dev/etherd/e0.2
check verified allowed --rw=randwrite --bs=4k --size=4M
# an exact question gets no answer either
timeout 3 aoeping 0 1 eth0 && { say "FAILED: aoeping was answered"; failed=1; }
check timeout 10 aoeping -I 0 2 eth0
finish
