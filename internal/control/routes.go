package control

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"goaoe/aoe"
)

// listed is a call in the list of all.
type listed struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Help   string `json:"help"`
}

func (h *handler) index(*request) ([]listed, error) {
	var list []listed
	for _, r := range Routes() {
		list = append(list, listed{r.Method, "/" + Version + r.Path, r.Help})
	}
	return list, nil
}

func (h *handler) export(c *request) (*Export, error) {
	a, err := parseAddr(c.PathValue("address"))
	if err != nil {
		return nil, err
	}
	list, err := h.b.Exports(c.Context())
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Address == a.String() {
			c.w.Header().Set("ETag", strconv.Quote(list[i].Revision))
			return &list[i], nil
		}
	}
	return nil, Errorf(CodeNotFound, "there is no export %v", a)
}

// maxWait bounds ChangeRequest.WaitMS, so that the reply comes before the connection is given up.
const maxWait = 110 * time.Second

// checkWait checks a time to wait.
func checkWait(ms int) error {
	if ms < 0 || ms > int(maxWait.Milliseconds()) {
		return Errorf(CodeUsage, "wait_ms: %d is not between 0 and %d", ms, maxWait.Milliseconds())
	}
	return nil
}

func (h *handler) changes(c *request, q *ChangeRequest) (*ChangeReply, error) {
	if len(q.Changes) == 0 {
		return nil, Errorf(CodeUsage, "changes: there is none")
	}
	if err := checkWait(q.WaitMS); err != nil {
		return nil, err
	}
	for i := range q.Changes {
		if op := q.Changes[i].Op; op != OpAdd && op != OpSet && op != OpRemove {
			return nil, Errorf(CodeUsage, "changes: the op %.40q of number %d is none", op, i+1).WithHint("it is add, set or remove; nothing was changed")
		}
	}
	return h.b.Change(c.Context(), q)
}

// oneRequest is the body of a change of one export.
type oneRequest struct {
	Change
	Save   bool `json:"save,omitempty"`
	DryRun bool `json:"dry_run,omitempty"`
	WaitMS int  `json:"wait_ms,omitempty"`
}

func (h *handler) change(c *request, q *oneRequest, op string) (*Result, error) {
	if q.Op != "" && q.Op != op {
		return nil, Errorf(CodeUsage, "op: %s does %q, not %q", c.Method, op, q.Op)
	}
	if err := checkWait(q.WaitMS); err != nil {
		return nil, err
	}
	q.Op = op
	return h.one(c, ChangeRequest{Changes: []Change{q.Change}, Save: q.Save, DryRun: q.DryRun, WaitMS: q.WaitMS})
}

// one makes one change of the export that the path names.
func (h *handler) one(c *request, q ChangeRequest) (*Result, error) {
	x, named := &q.Changes[0], c.PathValue("address")
	if x.Address != "" && x.Address != named {
		return nil, Errorf(CodeUsage, "address: the path names %s, the body %s", named, x.Address)
	}
	if x.Address = named; x.Op != OpAdd || strings.Contains(named, ".") {
		if _, err := parseAddr(named); err != nil {
			return nil, err
		}
	}
	if tag := c.Header.Get("If-Match"); tag != "" && tag != "*" {
		x.Revision = strings.Trim(tag, `"`)
	}
	v, err := h.b.Change(c.Context(), &q)
	if err != nil {
		return nil, err
	}
	if len(v.Results) != 1 {
		return nil, Errorf(CodeFailed, "%d results for one change", len(v.Results))
	}
	if e := v.Results[0].Error; e != nil {
		return nil, e
	}
	return &v.Results[0], nil
}

func (h *handler) remove(c *request) error {
	flags := map[string]bool{}
	for k := range c.query {
		v, err := strconv.ParseBool(c.query.Get(k))
		if err != nil {
			return Errorf(CodeUsage, "%s: %q is neither true nor false", k, c.query.Get(k))
		}
		flags[k] = v
	}
	v, err := h.one(c, ChangeRequest{Changes: []Change{{Op: OpRemove, Force: flags["force"]}}, Save: flags["save"], DryRun: flags["dry_run"]})
	return reply(c.w, v, err)
}

// announceRequest is POST /v1/announce.
type announceRequest struct {
	Exports []string `json:"exports"`
}

func (h *handler) announce(c *request, q *announceRequest) (*ChangeReply, error) {
	var list []aoe.Addr
	for _, s := range q.Exports {
		a, err := parseAddr(s)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return h.b.Announce(c.Context(), list)
}

// configReply is the reply of GET /v1/config.
type configReply struct {
	TOML string `json:"toml"`
}

func (h *handler) config(c *request) (configReply, error) {
	text, err := h.b.Config(c.Context())
	return configReply{text}, err
}

func (h *handler) trace(c *request) (err error) {
	if h.o.NoTrace {
		return Errorf(CodeRefused, "traces are not allowed here").WithHint("use the control socket")
	}
	q, w := c.query, c.w
	t := TraceRequest{Export: q.Get("export"), Initiator: q.Get("initiator"), Interface: q.Get("interface"), Command: q.Get("command")}
	for key, to := range map[string]*int{"snap": &t.Snap, "count": &t.Count} {
		if v := q.Get(key); v != "" {
			if *to, err = strconv.Atoi(v); err != nil {
				return Errorf(CodeUsage, "%s: %q is not a number", key, v)
			}
		}
	}
	select {
	case h.traces <- struct{}{}:
		defer func() { <-h.traces }()
	default:
		return Errorf(CodeRefused, "%d traces are running already", maxTraces).WithHint("end one of them")
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{}) // a trace lasts as long as it is wanted
	_ = rc.SetReadDeadline(time.Time{})
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
			_ = rc.Flush() // so that the client knows that the trace is on
		}
	}
	enc := json.NewEncoder(w)
	err = h.b.Trace(c.Context(), &t, func(rec *TraceRecord) error {
		begin()
		_ = rc.SetWriteDeadline(time.Now().Add(patient.head)) // a client that does not read does not hold the tap
		if err := enc.Encode(rec); err != nil {
			return err
		}
		return rc.Flush()
	})
	if begun || c.Context().Err() != nil {
		return nil // the status is out: the end of the stream says it
	}
	if err == nil {
		begin()
	}
	return err
}
