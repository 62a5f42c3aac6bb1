package testnet

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPair(t *testing.T) {
	ns, a, b := Pair(t, 9000)
	if _, err := net.InterfaceByName(a); err == nil {
		t.Fatalf("interface %s is visible outside of its namespace", a)
	}
	var ia, ib *net.Interface
	ns.Do(func() {
		var err error
		if ia, err = net.InterfaceByName(a); err != nil {
			t.Fatal(err)
		}
		if ib, err = net.InterfaceByName(b); err != nil {
			t.Fatal(err)
		}
		addrs, err := ia.Addrs()
		if err != nil || len(addrs) != 0 {
			t.Errorf("addresses of %s: %v, %v; IPv6 must be off", a, addrs, err)
		}
	})
	if ia.MTU != 9000 || ib.MTU != 9000 || ia.HardwareAddr.String() == ib.HardwareAddr.String() {
		t.Errorf("got %+v and %+v", ia, ib)
	}
	ns.SetMTU(a, 1500)
	ns.Down(b)
	ns.Link(a, "looking at", func(l netlink.Link) error {
		if l.Attrs().MTU != 1500 || l.Attrs().OperState == netlink.OperUp {
			t.Errorf("after SetMTU and the other end's going down: MTU %d, state %v", l.Attrs().MTU, l.Attrs().OperState)
		}
		return nil
	})
	ns.Up(b)
	ns.WaitRunning(a)
	ns.Delete(a)
	ns.Do(func() {
		if _, err := net.InterfaceByName(b); err == nil {
			t.Errorf("the other end of a removed interface is still there")
		}
	})
}
