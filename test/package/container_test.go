package package_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"goaoe/test/need"
)

// blob is a reference of an OCI image.
type blob struct {
	Digest string `json:"digest"`
}

// path returns where the blob lies in an unpacked archive.
func (b blob) path(dir string) string {
	return filepath.Join(dir, "blobs", strings.Replace(b.Digest, ":", "/", 1))
}

// readJSON reads a file of an image.
func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestContainer: the image is made by one command, holds the program and nothing else, and serves with one capability.
func TestContainer(t *testing.T) {
	t.Parallel()
	need.Root(t)
	need.Programs(t, "buildah", "crun", "tar")
	dir := t.TempDir()
	storage := filepath.Join(dir, "storage.conf")
	if err := os.WriteFile(storage, []byte("[storage]\ndriver = \"vfs\"\nrunroot = \""+dir+"/run\"\ngraphroot = \""+dir+"/storage\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	building.Lock()
	archive := filepath.Join(root(t), script(t, []string{"VERSION=1.0", "CONTAINERS_STORAGE_CONF=" + storage}, "dist/image"))
	building.Unlock()
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	var index struct{ Manifests []blob }
	readJSON(t, filepath.Join(dir, "index.json"), &index)
	var manifest struct {
		Config blob
		Layers []blob
	}
	readJSON(t, index.Manifests[0].path(dir), &manifest)
	var image struct {
		Architecture string
		Config       struct {
			Entrypoint, Cmd []string
			Volumes         map[string]any
		}
	}
	readJSON(t, manifest.Config.path(dir), &image)
	if c := image.Config; image.Architecture != "amd64" || !slices.Equal(c.Entrypoint, []string{"/usr/bin/goaoe"}) || !slices.Equal(c.Cmd, []string{"serve"}) || len(c.Volumes) != 1 {
		t.Errorf("the image says %+v", image)
	}
	if len(manifest.Layers) != 1 {
		t.Fatalf("%d layers", len(manifest.Layers))
	}
	layer := manifest.Layers[0].path(dir)
	if got := regular(t, layer); !slices.Equal(got, []string{"etc/goaoe/goaoe.toml", "usr/bin/goaoe"}) {
		t.Errorf("the image has %q", got)
	}

	m := boot(t)
	m.run("mkdir -p /tmp/c/rootfs")
	m.copyIn(layer, "/tmp/layer.tgz")
	m.run("tar -xzf /tmp/layer.tgz -C /tmp/c/rootfs && truncate -s 1M /tmp/c/rootfs/disk.img && cd /tmp/c && crun spec")
	var spec map[string]any
	if err := json.Unmarshal([]byte(m.run("cat /tmp/c/config.json")), &spec); err != nil {
		t.Fatal(err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = append(slices.Clone(image.Config.Entrypoint), "serve", "-i", "t0", "e0.1=/disk.img")
	for kind := range process["capabilities"].(map[string]any) {
		process["capabilities"].(map[string]any)[kind] = []string{"CAP_NET_RAW"}
	}
	spec["root"].(map[string]any)["readonly"] = false
	linux := spec["linux"].(map[string]any)
	linux["namespaces"] = slices.DeleteFunc(linux["namespaces"].([]any), func(n any) bool { return n.(map[string]any)["type"] == "network" }) // --network host
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	m.write("/tmp/c/config.json", string(text))
	m.run("cp /tmp/c/rootfs/usr/bin/goaoe /usr/local/bin/ && cd /tmp/c && systemd-run --unit=c -p WorkingDirectory=/tmp/c crun --cgroup-manager=disabled run c")
	m.eventually("/usr/local/bin/goaoe discover -i i0", "e0.1")
	m.run("systemctl stop c")
}

// regular lists the regular files of a layer.
func regular(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			slices.Sort(out)
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			out = append(out, h.Name)
		}
	}
}
