# vlan.sh: the conformance test of VLAN interfaces, for hosts whose own kernel has none. Nothing of the driver is used.
. /root/lib.sh
modprobe veth || die "modprobe veth"
modprobe 8021q || die "modprobe 8021q"
mkdir -p /tmp
GOAOE_TEST_BINARY=/root/goaoe CI=true /root/netns.test -test.run 'TestVLAN$' -test.v >/tmp/vlan.txt 2>&1
same "exit status of the test" $? 0
cat /tmp/vlan.txt
check grep -q -- '--- PASS: TestVLAN/C20' /tmp/vlan.txt
finish
