# readonly.sh IMAGE: reads are served, writes fail with an I/O error and change nothing
. /root/lib.sh
attach
before=$(host "sha256sum <$1")
check dd if=$bd of=/tmp/a bs=1M count=4 iflag=direct status=none
same "what was read" "$(sha256sum </tmp/a)" "$(host "head -c 4194304 $1 | sha256sum")"
dd if=/dev/urandom of=/tmp/x bs=4k count=1 status=none
dd if=/tmp/x of=$bd bs=4k count=1 oflag=direct conv=notrunc 2>/tmp/err && { say "FAILED: the write went through"; failed=1; }
cat /tmp/err
check grep -q 'Input/output error' /tmp/err
same "the image" "$(host "sha256sum <$1")" "$before"
check dd if=$bd of=/tmp/b bs=1M count=4 iflag=direct status=none
check cmp /tmp/a /tmp/b
finish "$(io_errors)"
