package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// maxReply bounds what a client reads of one reply, in bytes. Thousands of exports with their statistics fit.
const maxReply = 256 << 20

// Client calls a daemon. Its methods are those of Backend; each error is an *Error. It may be used by several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the daemon behind a socket. Nothing is opened before the first call.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 2}}}
}

// FindSocket returns the socket to use when the user named none: $GOAOE_SOCKET, else that of the user's own daemon
// where there is one, else DefaultSocket. All but the first are below sysroot.
func FindSocket(sysroot string) string {
	if s := os.Getenv(SocketEnv); s != "" {
		return s
	}
	system := filepath.Join(sysroot, DefaultSocket)
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && os.Getuid() != 0 {
		own := filepath.Join(dir, "goaoe", "control.sock")
		if _, err := os.Stat(own); err == nil {
			return own
		}
	}
	return system
}

// Socket returns the path of the socket.
func (c *Client) Socket() string { return c.socket }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status says how the daemon is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, http.MethodGet, "status", nil, nil)
}

// Exports returns all exports.
func (c *Client) Exports(ctx context.Context) ([]Export, error) {
	r, err := call[[]Export](ctx, c, http.MethodGet, "exports", nil, nil)
	if err != nil {
		return nil, err
	}
	return *r, nil
}

// Export returns one export.
func (c *Client) Export(ctx context.Context, a aoe.Addr) (*Export, error) {
	return call[Export](ctx, c, http.MethodGet, "exports/"+a.String(), nil, nil)
}

// Interfaces returns the interfaces.
func (c *Client) Interfaces(ctx context.Context) ([]Interface, error) {
	r, err := call[[]Interface](ctx, c, http.MethodGet, "interfaces", nil, nil)
	if err != nil {
		return nil, err
	}
	return *r, nil
}

// Stats returns all counters.
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	return call[Stats](ctx, c, http.MethodGet, "stats", nil, nil)
}

// Change adds, changes and removes exports. The error concerns the call as a whole; see Result for each change.
func (c *Client) Change(ctx context.Context, r *ChangeRequest) (*ChangeReply, error) {
	return call[ChangeReply](ctx, c, http.MethodPost, "changes", nil, r)
}

// Announce announces exports; none named means all.
func (c *Client) Announce(ctx context.Context, exports []aoe.Addr) (*ChangeReply, error) {
	list := make([]string, len(exports))
	for i, a := range exports {
		list[i] = a.String()
	}
	return call[ChangeReply](ctx, c, http.MethodPost, "announce", nil, map[string]any{"exports": list})
}

// Plan says what a reload would do.
func (c *Client) Plan(ctx context.Context) (*Plan, error) {
	return call[Plan](ctx, c, http.MethodGet, "plan", nil, nil)
}

// Reload reads the configuration anew and applies it.
func (c *Client) Reload(ctx context.Context, r *ReloadRequest) (*Plan, error) {
	return call[Plan](ctx, c, http.MethodPost, "reload", nil, r)
}

// Clear empties a config string, mask or reserve list, or statistics.
func (c *Client) Clear(ctx context.Context, r *ClearRequest) (*ChangeReply, error) {
	return call[ChangeReply](ctx, c, http.MethodPost, "clear", nil, r)
}

// SetLog changes a log level.
func (c *Client) SetLog(ctx context.Context, r *LogRequest) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "log", nil, r)
	return err
}

// Config returns the configuration in force as TOML.
func (c *Client) Config(ctx context.Context) (string, error) {
	r, err := call[struct {
		TOML string `json:"toml"`
	}](ctx, c, http.MethodGet, "config", nil, nil)
	if err != nil {
		return "", err
	}
	return r.TOML, nil
}

// Trace calls fn for each frame until ctx ends (nil), fn returns an error (that), or r.Count records came (nil).
func (c *Client) Trace(ctx context.Context, r *TraceRequest, fn func(*TraceRecord) error) error {
	q := url.Values{}
	for k, v := range map[string]string{"export": r.Export, "initiator": r.Initiator, "interface": r.Interface, "command": r.Command} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for k, v := range map[string]int{"snap": r.Snap, "count": r.Count} {
		if v != 0 {
			q.Set(k, strconv.Itoa(v))
		}
	}
	resp, err := c.do(ctx, http.MethodGet, "trace", q, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	dec := json.NewDecoder(resp.Body)
	for {
		var rec TraceRecord
		if err := dec.Decode(&rec); err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				return nil
			}
			return Errorf(CodeGone, "the daemon ended the trace: %v", err)
		}
		if err := fn(&rec); err != nil {
			return err
		}
	}
}

// call sends body as JSON and decodes the reply into a T.
func call[T any](ctx context.Context, c *Client, method, path string, q url.Values, body any) (*T, error) {
	resp, err := c.do(ctx, method, path, q, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	out := new(T)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil && !errors.Is(err, io.EOF) {
		return nil, Errorf(CodeGone, "the daemon's reply broke off: %v", err)
	}
	return out, nil
}

// do sends a request and returns the response when it is a good one.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body any) (*http.Response, error) {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, Errorf(CodeUsage, "%v", err)
		}
		rd = bytes.NewReader(b)
	}
	u := "http://goaoe/" + Version + "/" + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, rd)
	if err != nil {
		return nil, Errorf(CodeUsage, "%v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.dialError(err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var e struct {
		Error *Error `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil || e.Error == nil {
		return nil, Errorf(CodeFailed, "%s %s: %s, and no more was said", method, path, resp.Status)
	}
	return nil, e.Error
}

// dialError makes an error of a call that got no response: who is to blame, and what to do.
func (c *Client) dialError(err error) *Error {
	switch {
	case errors.Is(err, context.Canceled):
		return Errorf(CodeFailed, "interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return Errorf(CodeGone, "the daemon behind %s does not answer", c.socket).WithHint("systemctl status goaoe, and its log, may say why")
	case errors.Is(err, fs.ErrNotExist):
		return Errorf(CodeGone, "no daemon is running: %s does not exist", c.socket).
			WithHint("start one: systemctl start goaoe, or goaoe serve; another socket is named by --socket or " + SocketEnv)
	case errors.Is(err, unix.ECONNREFUSED):
		return Errorf(CodeGone, "no daemon is running: nobody listens on %s, which the last one left behind", c.socket).
			WithHint("start one: systemctl start goaoe, or goaoe serve")
	case errors.Is(err, fs.ErrPermission):
		return Errorf(CodeRefused, "no permission to use %s", c.socket).WithHint("run as root, or as a member of the group that owns it" + c.group())
	case errors.Is(err, unix.ENOTSOCK):
		return Errorf(CodeGone, "%s is not a socket", c.socket).WithHint("name the daemon's socket by --socket")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return Errorf(CodeGone, "the daemon behind %s went away before it answered", c.socket).WithHint("its log may say why: journalctl -u goaoe")
	}
	text := cause(err).Error()
	if strings.Contains(text, "malformed HTTP") || strings.Contains(text, "transport connection broken") {
		return Errorf(CodeGone, "what listens on %s is no goaoe daemon: %.200s", c.socket, text).WithHint("name the daemon's socket by --socket")
	}
	return Errorf(CodeGone, "%s: %s", c.socket, strings.TrimPrefix(text, "dial unix "+c.socket+": "))
}

// group names the group of the socket, as far as it can be seen.
func (c *Client) group() string {
	var st unix.Stat_t
	if unix.Stat(c.socket, &st) != nil {
		return ""
	}
	return fmt.Sprintf(" (gid %d)", st.Gid)
}

// cause strips what net/http puts around an error.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Timeout is how long commands wait for a reply that should come at once.
const Timeout = 30 * time.Second
