package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// migration is one way to move a disk to goaoe. DIR stands for a folder of its own, DISK for the image, and goaoe and the names of
// the other programs (links made by goaoe install-links) are on the path.
type migration struct {
	files  map[string]string // in DIR
	before string            // shell: the old way; it stays in the foreground
	move   string            // shell: what the administrator types to move over
	after  string            // shell: the new way
	log    string            // what the log of the second way must have
}

var migrations = map[string]migration{
	// Debian's vblade itself, with the files that its unit reads.
	"vblade": {
		files:  map[string]string{"vblade.conf.d/disk.conf": "shelf=0\nslot=1\nnetif=t0\nfilename=DISK\noptions=\"-b 32\"\n"},
		before: `. DIR/vblade.conf.d/disk.conf; exec /usr/sbin/vblade $shelf $slot $netif $filename`,
		move:   `goaoe convert DIR/vblade.conf.d -o DIR/goaoe.toml && goaoe check DIR/goaoe.toml`,
		after:  `exec goaoe serve -c DIR/goaoe.toml`,
		log:    "e0.1 serving DISK",
	},
	"vbladed": {
		before: `/usr/sbin/vblade 0 1 t0 DISK`,
		move:   `true`,
		after:  `vbladed 0 1 t0 DISK && echo "vbladed returned"; exec sleep 600`,
		log:    "vbladed returned",
	},
	"ggaoed": {
		files: map[string]string{"ggaoed.conf": "[defaults]\nqueue-length = 32\ninterfaces = t*\nstate-directory = DIR/state\n\n[acls]\nguest = 52:54:00:ae:00:01\n\n" +
			"[system]\npath = DISK\nshelf = 0\nslot = 1\naccept = guest\n"},
		before: `exec ggaoed -d -c DIR/ggaoed.conf`,
		move:   `goaoe convert DIR/ggaoed.conf -o DIR/goaoe.toml && goaoe check DIR/goaoe.toml`,
		after:  `exec goaoe serve -c DIR/goaoe.toml`,
		log:    "e0.1 serving DISK",
	},
	"qaoed": {
		files: map[string]string{"qaoed.conf": "/* the old file */\ndefault {\n\tshelf = 0;\n\tinterface = t0;\n\twritecache = off;\n}\n\n" +
			"access-list {\n\tname = guest;\n\tpolicy = reject;\n\taccept = 52:54:00:ae:00:01;\n}\n\n" +
			"device {\n\ttarget = \"DISK\";\n\tslot = 1;\n\tacl {\n\t\tread = guest;\n\t\twrite = guest;\n\t}\n}\n"},
		before: `exec qaoed -f -c DIR/qaoed.conf`,
		move:   `goaoe convert DIR/qaoed.conf -o DIR/goaoe.toml && goaoe check DIR/goaoe.toml`,
		after:  `exec goaoe serve -c DIR/goaoe.toml`,
		log:    "e0.1 serving DISK",
	},
	"kvblade": {
		before: `kvadd 0 1 t0 DISK && kvstat && exec sleep 600`,
		move:   `goaoe show --effective > DIR/goaoe.toml && kvdel 0 1 t0; goaoe check DIR/goaoe.toml && pkill -TERM -f 'serve --idle'`,
		after:  `exec goaoe serve -c DIR/goaoe.toml`,
		log:    "e0.1 serving DISK",
	},
}

// TestMigrations: users of the four older targets move over while a Linux initiator has the disk mounted and under load.
func TestMigrations(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	for name, m := range migrations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			disk := image(t, "disk.img", 256<<20)
			fill := strings.NewReplacer("DIR", dir, "DISK", disk).Replace
			for _, p := range []string{"bin"} {
				if err := os.Mkdir(filepath.Join(dir, p), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if code, out := execute(t, time.Minute, b.goaoe, "install-links", filepath.Join(dir, "bin")); code != 0 {
				t.Fatalf("install-links: exit status %d: %s", code, out)
			}
			env := fmt.Sprintf("export PATH=%s:%s:$PATH GOAOE_SOCKET=%s/sock\nmkdir -p /var/lib/goaoe; mountpoint -q /var/lib/goaoe || mount -t tmpfs none /var/lib/goaoe\n",
				filepath.Join(dir, "bin"), b.dir, dir)
			files := map[string]string{
				"target": env + fmt.Sprintf("if [ -e %s/moved ]; then %s\nelse %s\nfi\n", dir, fill(m.after), fill(m.before)),
				"move":   "set -e\n" + env + fill(m.move) + "\ntouch " + dir + "/moved\n",
			}
			for n, text := range m.files {
				files[n] = fill(text)
			}
			for n, text := range files {
				path := filepath.Join(dir, n)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := b.run(t, job{script: "migrate.sh", args: []string{filepath.Join(dir, "move")}, targets: []string{"exec bash " + filepath.Join(dir, "target")},
				limit: 3 * time.Minute, noise: `warning: .*(ggaoed|qaoed|vblade)`})
			if want := fill(m.log); len(r.log) > 0 && !strings.Contains(r.log[0], want) {
				t.Errorf("the log of the target has no %q:\n%s", want, r.log[0])
			}
		})
	}
}
