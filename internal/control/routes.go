package control

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"goaoe/aoe"
)

func (h *handler) index(w http.ResponseWriter, _ *http.Request) {
	type call struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Help   string `json:"help"`
	}
	var list []call
	for _, r := range Routes() {
		list = append(list, call{r.Method, "/" + Version + r.Path, r.Help})
	}
	_ = write(w, list) // it never fails
}

// reply writes v unless there was an error.
func reply[T any](w http.ResponseWriter, v T, err error) error {
	if err != nil {
		return err
	}
	return write(w, v)
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	v, err := h.b.Status(r.Context())
	return reply(w, v, err)
}

func (h *handler) exports(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	v, err := h.b.Exports(r.Context())
	return reply(w, v, err)
}

func (h *handler) export(w http.ResponseWriter, r *http.Request) error {
	e, err := h.find(r)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", strconv.Quote(e.Revision))
	return write(w, e)
}

// find returns the export that a path names.
func (h *handler) find(r *http.Request) (*Export, error) {
	a, err := parseAddr(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	list, err := h.b.Exports(r.Context())
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Address == a.String() {
			return &list[i], nil
		}
	}
	return nil, Errorf(CodeNotFound, "there is no export %v", a)
}

func (h *handler) interfaces(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	v, err := h.b.Interfaces(r.Context())
	return reply(w, v, err)
}

func (h *handler) stats(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	v, err := h.b.Stats(r.Context())
	return reply(w, v, err)
}

// maxWait bounds ChangeRequest.WaitMS, so that the reply comes before the connection is given up.
const maxWait = replyPatience - 10*time.Second

func (h *handler) changes(w http.ResponseWriter, r *http.Request) error {
	var q ChangeRequest
	if err := read(r, &q); err != nil {
		return err
	}
	if len(q.Changes) == 0 {
		return Errorf(CodeUsage, "changes: there is none")
	}
	if q.WaitMS < 0 || q.WaitMS > int(maxWait.Milliseconds()) {
		return Errorf(CodeUsage, "wait_ms: %d is not between 0 and %d", q.WaitMS, maxWait.Milliseconds())
	}
	v, err := h.b.Change(r.Context(), &q)
	return reply(w, v, err)
}

// one makes one change and replies with the export as it is then.
func (h *handler) one(w http.ResponseWriter, r *http.Request, q ChangeRequest) error {
	c := &q.Changes[0]
	if c.Address != "" && c.Address != r.PathValue("address") {
		return Errorf(CodeUsage, "address: the path names %s, the body %s", r.PathValue("address"), c.Address)
	}
	if c.Address = r.PathValue("address"); c.Op != OpAdd || strings.Contains(c.Address, ".") {
		if _, err := parseAddr(c.Address); err != nil {
			return err
		}
	}
	if tag := r.Header.Get("If-Match"); tag != "" && tag != "*" {
		c.Revision = strings.Trim(tag, `"`)
	}
	v, err := h.b.Change(r.Context(), &q)
	if err != nil {
		return err
	}
	if len(v.Results) != 1 {
		return Errorf(CodeFailed, "%d results for one change", len(v.Results))
	}
	if e := v.Results[0].Error; e != nil {
		return e
	}
	return write(w, v.Results[0])
}

// oneRequest is the body of a change of one export.
type oneRequest struct {
	Change
	Save   bool `json:"save,omitempty"`
	DryRun bool `json:"dry_run,omitempty"`
	WaitMS int  `json:"wait_ms,omitempty"`
}

func (h *handler) change(w http.ResponseWriter, r *http.Request, op string) error {
	var q oneRequest
	if err := read(r, &q); err != nil {
		return err
	}
	if q.Op != "" && q.Op != op {
		return Errorf(CodeUsage, "op: %s does %q, not %q", r.Method, op, q.Op)
	}
	if q.WaitMS < 0 || q.WaitMS > int(maxWait.Milliseconds()) {
		return Errorf(CodeUsage, "wait_ms: %d is not between 0 and %d", q.WaitMS, maxWait.Milliseconds())
	}
	q.Op = op
	return h.one(w, r, ChangeRequest{Changes: []Change{q.Change}, Save: q.Save, DryRun: q.DryRun, WaitMS: q.WaitMS})
}

func (h *handler) put(w http.ResponseWriter, r *http.Request) error { return h.change(w, r, OpAdd) }

func (h *handler) patch(w http.ResponseWriter, r *http.Request) error { return h.change(w, r, OpSet) }

func (h *handler) remove(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "force", "save", "dry_run")
	if err != nil {
		return err
	}
	flags := map[string]bool{}
	for k := range q {
		v, err := strconv.ParseBool(q.Get(k))
		if err != nil {
			return Errorf(CodeUsage, "%s: %q is neither true nor false", k, q.Get(k))
		}
		flags[k] = v
	}
	return h.one(w, r, ChangeRequest{Changes: []Change{{Op: OpRemove, Force: flags["force"]}}, Save: flags["save"], DryRun: flags["dry_run"]})
}

// announceRequest is POST /v1/announce.
type announceRequest struct {
	Exports []string `json:"exports"`
}

func (h *handler) announce(w http.ResponseWriter, r *http.Request) error {
	var q announceRequest
	if err := read(r, &q); err != nil {
		return err
	}
	var list []aoe.Addr
	for _, s := range q.Exports {
		a, err := parseAddr(s)
		if err != nil {
			return err
		}
		list = append(list, a)
	}
	v, err := h.b.Announce(r.Context(), list)
	return reply(w, v, err)
}

func (h *handler) plan(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	v, err := h.b.Plan(r.Context())
	return reply(w, v, err)
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) error {
	var q ReloadRequest
	if err := read(r, &q); err != nil {
		return err
	}
	v, err := h.b.Reload(r.Context(), &q)
	return reply(w, v, err)
}

func (h *handler) clear(w http.ResponseWriter, r *http.Request) error {
	var q ClearRequest
	if err := read(r, &q); err != nil {
		return err
	}
	v, err := h.b.Clear(r.Context(), &q)
	return reply(w, v, err)
}

func (h *handler) log(w http.ResponseWriter, r *http.Request) error {
	var q LogRequest
	if err := read(r, &q); err != nil {
		return err
	}
	if err := h.b.SetLog(r.Context(), &q); err != nil {
		return err
	}
	return write(w, struct{}{})
}

func (h *handler) config(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	text, err := h.b.Config(r.Context())
	return reply(w, map[string]string{"toml": text}, err)
}

func (h *handler) trace(w http.ResponseWriter, r *http.Request) error {
	if h.o.NoTrace {
		return Errorf(CodeRefused, "traces are not allowed here").WithHint("use the control socket")
	}
	q, err := query(r, "export", "initiator", "interface", "command", "snap", "count")
	if err != nil {
		return err
	}
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
	err = h.b.Trace(r.Context(), &t, func(rec *TraceRecord) error {
		begin()
		_ = rc.SetWriteDeadline(time.Now().Add(headerPatience)) // a client that does not read does not hold the tap
		if err := enc.Encode(rec); err != nil {
			return err
		}
		return rc.Flush()
	})
	if begun || r.Context().Err() != nil {
		return nil // the status is out: the end of the stream says it
	}
	if err == nil {
		begin()
	}
	return err
}
