# udev.sh: the names of an AoE disk at the initiator, with systemd's udev and our rules and nothing else. Runs in the guest of test/guest.
. /root/lib.sh
mkdir -p /run/udev/rules.d
sed 's,"ata_id ,"/usr/bin/ata_id ,' /root/62-goaoe.rules >/run/udev/rules.d/62-goaoe.rules # the guest has it elsewhere
printf 'root:x:0:\ndisk:x:6:\ngoaoe:x:990:\n' >/etc/group
/usr/bin/systemd-udevd --daemon 2>/tmp/udevd.log || die "no udevd"
attach
echo 'label: gpt
name=store, size=4096' | sfdisk -q --no-reread --no-tell-kernel $bd || die "sfdisk"
blockdev --rereadpt $bd
check udevadm settle -t 20
check mkfs.ext4 -q -F -U 0a3407de-014b-458b-b5c1-848e92a327a3 -L books ${bd}p1
udevadm trigger --action=change --subsystem-match=block --settle
check udevadm settle -t 20
leads() { # leads LINK DEVICE
	if [ "$(readlink -f /dev/disk/$1)" = "$2" ]; then say "ok: $1"; else say "FAILED: $1 leads to $(readlink -f /dev/disk/$1)"; failed=1; fi
}
leads by-path/aoe-e0.1 $bd
leads by-path/aoe-e0.1-part1 ${bd}p1
leads by-id/aoe-goaoe_SERIAL-1 $bd
leads by-id/aoe-goaoe_SERIAL-1-part1 ${bd}p1
leads by-label/books ${bd}p1
leads by-uuid/0a3407de-014b-458b-b5c1-848e92a327a3 ${bd}p1
leads by-partlabel/store ${bd}p1
ls /dev/disk/by-partuuid | grep -q . || { say "FAILED: no by-partuuid"; failed=1; }
udevadm info $bd | grep -E 'ID_(SERIAL|PATH|BUS)='
[ $failed = 0 ] || { find /dev/disk -type l; udevadm info $bd ${bd}p1; cat /tmp/udevd.log; }

# The target's end: a device that the administrator names, or whose volume's name begins with goaoe-, belongs to the daemon's
# group; others do not. The names come from other rules: here these are our own.
cat >/run/udev/rules.d/50-names.rules <<-'END'
	KERNEL=="loop1", ENV{GOAOE_EXPORT}="1"
	KERNEL=="loop2", ENV{DM_LV_NAME}="goaoe-disk7"
	KERNEL=="loop3", ENV{DM_LV_NAME}="disk8"
	KERNEL=="loop4", ENV{ID_PART_ENTRY_NAME}="goaoe-disk9"
END
modprobe loop
udevadm control --reload
i=0
until [ "$(stat -c %g /dev/loop1) $(stat -c %g /dev/loop4)" = "990 990" ] || [ $i -ge 10 ]; do # udevd takes its time to read the rules
	udevadm trigger --action=add --subsystem-match=block
	udevadm settle -t 20
	i=$((i + 1))
done
same "the named device" "$(stat -c '%g %a' /dev/loop1)" "990 660"
same "the volume" "$(stat -c '%g %a' /dev/loop2) $(readlink -f /dev/disk/by-goaoe/goaoe-disk7)" "990 660 /dev/loop2"
same "the partition" "$(stat -c '%g %a' /dev/loop4) $(readlink -f /dev/disk/by-goaoe/goaoe-disk9)" "990 660 /dev/loop4"
refuse test "$(stat -c %g /dev/loop3)" = 990
refuse test "$(stat -c %g $bd)" = 990

# goaoe attach: the device is known by its mark, whichever the kernel chose.
/root/goaoe attach e0.1 || die "goaoe attach"
check udevadm settle -t 20
links() { udevadm info -q symlink "$1" | tr ' ' '\n' | grep -c "^$2\$"; }
same "links of the disk" "$(links /dev/nbd0 goaoe/e0.1)" 1
blockdev --rereadpt /dev/nbd0
check udevadm settle -t 20
same "links of its partition" "$(links /dev/nbd0p1 goaoe/e0.1-part1)" 1
same "the partition" "$(readlink -f /dev/goaoe/e0.1-part1)" /dev/nbd0p1
check /root/goaoe detach e0.1
check udevadm settle -t 20
refuse test -e /dev/goaoe/e0.1
grep -E 'Invalid|Unknown|error' /tmp/udevd.log && failed=1
exit $failed
