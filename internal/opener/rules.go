package opener

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/privsep"
)

// Rules decide what is opened.
type Rules struct {
	load    func() *config.Config
	dropIns string // folder of the drop-ins; "": none are written

	mu      sync.Mutex
	reading map[string]bool // while load runs: what it opens
	sources map[string]bool // as configured, or granted
	configs map[string]bool // paths that reading the configuration opens
	logs    map[string]bool // paths of log files
}

// NewRules makes rules. load reads the configuration, by the functions of privsep; what is named there counts from then on, also when it
// was taken out of the file again: the daemon may still serve it. dropIns is the folder that drop-ins are written to; "" for none.
func NewRules(load func() *config.Config, dropIns string) *Rules {
	r := &Rules{load: load, dropIns: dropIns, sources: map[string]bool{}, configs: map[string]bool{}, logs: map[string]bool{}}
	privsep.Use(recorder{r: r})
	r.refresh()
	return r
}

// recorder notes what is opened while the configuration is read.
type recorder struct {
	privsep.Direct
	r *Rules
}

func (c recorder) Open(k privsep.Kind, path string, flags int, perm uint32) (int, error) {
	c.note(k, path)
	return c.Direct.Open(k, path, flags, perm)
}

func (c recorder) Stat(k privsep.Kind, path string) (privsep.Facts, error) {
	c.note(k, path)
	return c.Direct.Stat(k, path)
}

// note is called by refresh's goroutine only, which holds the lock.
func (c recorder) note(k privsep.Kind, path string) {
	if k == privsep.Config && c.r.reading != nil {
		c.r.reading[path] = true
	}
}

// refresh reads the configuration anew.
func (r *Rules) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = map[string]bool{}
	cfg := r.load()
	maps.Copy(r.configs, r.reading)
	r.reading = nil
	if cfg == nil {
		return
	}
	for _, e := range slices.Concat(cfg.Exports, cfg.Disabled) {
		r.sources[e.Source] = true
	}
	if cfg.Log.File != "" {
		r.logs[cfg.Log.File] = true
	}
	for _, t := range cfg.LogTargets {
		if t.File != "" {
			r.logs[t.File] = true
		}
	}
}

// has looks a name up, and once more after the configuration was read anew.
func (r *Rules) has(set func() bool) bool {
	look := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return set()
	}
	if look() {
		return true
	}
	r.refresh()
	return look()
}

// refused is the error for what is not allowed.
func refused(path string) error {
	return fmt.Errorf("%s is not named in the configuration, and this daemon is confined to what is: add it by goaoe add or the control socket, or to the file and goaoe reload", path)
}

// Permits says why a source, as it is configured, may not be opened; nil: it may.
func (r *Rules) Permits(source string) error {
	if _, mem := config.MemSize(source); mem || r.has(func() bool { return r.sources[source] }) {
		return nil
	}
	return refused(source)
}

// path says why a path that a source was found at may not be opened; nil: it may.
func (r *Rules) path(path string) error {
	var tags []string
	if r.has(func() bool {
		tags = tags[:0]
		for s := range r.sources {
			if filepath.IsAbs(s) && filepath.Clean(s) == path {
				return true
			}
			if !filepath.IsAbs(s) {
				tags = append(tags, s)
			}
		}
		return false
	}) {
		return nil
	}
	for _, s := range tags {
		if p, err := config.ResolveSource(s, ""); err == nil && p == path {
			return nil
		}
	}
	return refused(path)
}

// Grant lets sources be opened. What cannot be one is left out.
func (r *Rules) Grant(sources []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range sources {
		if config.CheckSource(s) == nil && len(r.sources) < maxSources {
			r.sources[s] = true
		}
	}
}

// maxSources bounds what can be granted.
const maxSources = 1 << 20

// Flags that each kind may be opened with, beside that of the closing by exec.
const (
	sourceFlags = unix.O_RDWR | unix.O_DIRECT | unix.O_EXCL | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_LARGEFILE
	configFlags = unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_LARGEFILE
	logFlags    = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_LARGEFILE
)

// allow says why a path may not be opened, or looked at; nil: it may.
func (r *Rules) allow(k privsep.Kind, path string, flags int) error {
	allowed, known := 0, false
	switch k {
	case privsep.Source:
		if err := r.path(path); err != nil {
			return err
		}
		allowed, known = sourceFlags, true
	case privsep.Config:
		allowed, known = configFlags, r.has(func() bool { return r.configs[path] })
	case privsep.Log:
		allowed, known = logFlags, r.has(func() bool { return r.logs[path] })
	}
	if !known {
		return refused(path)
	}
	if flags&^allowed != 0 {
		return fmt.Errorf("%s is not opened with flags %#x", path, flags)
	}
	return nil
}

// open opens what the rules allow.
func (r *Rules) open(q *request) (int, error) {
	if err := r.allow(q.Kind, q.Path, q.Flags); err != nil {
		return -1, err
	}
	var d privsep.Direct
	if q.Kind == privsep.Source {
		f, err := d.Stat(q.Kind, q.Path)
		if err == nil && !holdsBlocks(f.Mode) {
			err = neither(q.Path)
		}
		if err != nil {
			return -1, err
		}
	}
	fd, err := d.Open(q.Kind, q.Path, q.Flags|unix.O_NOCTTY, q.Perm&0o640)
	if err != nil || q.Kind != privsep.Source {
		return fd, err
	}
	var st unix.Stat_t // it may be another one since
	if err = unix.Fstat(fd, &st); err == nil && !holdsBlocks(st.Mode) {
		err = neither(q.Path)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func neither(path string) error { return fmt.Errorf("%s is neither a file nor a block device", path) }

func holdsBlocks(mode uint32) bool {
	return mode&unix.S_IFMT == unix.S_IFREG || mode&unix.S_IFMT == unix.S_IFBLK
}

// stat looks at what the rules allow.
func (r *Rules) stat(q *request) (privsep.Facts, error) {
	if err := r.allow(q.Kind, q.Path, 0); err != nil {
		return privsep.Facts{}, err
	}
	return privsep.Direct{}.Stat(q.Kind, q.Path)
}

// device asks blkid for a tag that a source has.
func (r *Rules) device(q *request) (string, error) {
	if err := r.Permits(q.Tag + "=" + q.Value); err != nil {
		if r.Permits(q.Tag+`="`+q.Value+`"`) != nil { // resolving takes quotes off
			return "", err
		}
	}
	return privsep.Direct{}.Device(q.Tag, q.Value), nil
}

// write writes drop-ins. What they make the next start serve must be allowed now.
func (r *Rules) write(q *request) error {
	if r.dropIns == "" || q.Path != r.dropIns {
		return fmt.Errorf("%s is not the folder of the drop-ins", q.Path)
	}
	for name, data := range q.Files {
		if filepath.Dir(name) != r.dropIns {
			return fmt.Errorf("%s is not in the folder of the drop-ins", name)
		}
		var l config.Layer
		if data != nil {
			var err error
			if l, err = config.ParseLayer(config.File{Name: name, Data: data}); err != nil {
				return err
			}
			if source, ok := l.Settings["source"]; ok {
				if err := r.Permits(source); err != nil {
					return err
				}
			}
		}
		base := filepath.Base(name)
		addr, err := aoe.ParseAddr(strings.TrimSuffix(base, ".toml"))
		if err != nil || base != config.LayerName(addr) || data != nil && addr != l.Addr {
			return fmt.Errorf("%s is not the name of its drop-in", name)
		}
	}
	return privsep.WriteFiles(q.Path, q.Files)
}
