# tools.sh SIZE PAYLOAD: Debian's aoetools in the guest, beside its driver, on the same interface
. /root/lib.sh
say "$(aoe-version 2>&1 | tr '\n' ' ')"
modprobe aoe aoe_iflist=nothing || die "modprobe aoe"
sleep 2
refuse [ -b $bd ]
check aoe-interfaces eth0
same "list of interfaces" "$(aoe-interfaces)" eth0
check aoe-discover
appears 10 || die "no $bd after aoe-interfaces and aoe-discover"
sleep 1
aoe-stat
check sh -c "aoe-stat | grep -q '$dev .*eth0 .*up'"
# goaoe by the names of those that speak to the driver
mkdir /tmp/ours
check /root/goaoe install-links --only aoe-discover,aoe-stat /tmp/ours
same "what our aoe-stat prints" "$(/tmp/ours/aoe-stat)" "$(aoe-stat)"
same "what our aoe-stat $dev prints" "$(/tmp/ours/aoe-stat $dev)" "$(aoe-stat $dev)"
refuse /tmp/ours/aoe-stat e7.7
check timeout 20 aoeping -s 10 -I 0 1 eth0
check timeout 20 aoecfg -c fset -s 'from the guest' -t 3 0 1 eth0
timeout 20 aoecfg -t 3 0 1 eth0 >/tmp/cfg
cat /tmp/cfg
check grep -q 'from the guest' /tmp/cfg
timeout 60 aoe-sancheck >/tmp/san
same "exit status of aoe-sancheck" $? 0
cat /tmp/san
check grep -qE "^$dev[[:space:]]+1[[:space:]]+$2[[:space:]]+eth0" /tmp/san
check aoe-revalidate $dev
sleep 1
same "size in bytes" "$(size_of $dev)" "$1"
check verified tools --rw=randwrite --bs=4k --size=4M
check aoe-flush -a
refuse [ -b $bd ]
aoe-discover
appears 10 || die "no $bd after aoe-flush and aoe-discover"
check aoe-flush -a
refuse [ -b $bd ]
check /tmp/ours/aoe-discover
appears 10 || die "no $bd after aoe-flush and our aoe-discover"
check verified again --rw=randwrite --bs=4k --size=1M
check aoe-interfaces -c
finish
