package metrics

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"goaoe/internal/httpd"
)

// Path is where the metrics are.
const Path = "/metrics"

// registry holds the metrics of a daemon, and with process also those of this process (go_*, process_*).
func registry(src Source, process bool) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(NewCollector(src))
	if process {
		r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return r
}

// Handler answers at Path with all metrics of the daemon and its process, and at / with a link there. Everything else is not found.
func Handler(src Source) http.Handler {
	r := registry(src, true)
	mux := http.NewServeMux()
	// More than a few who ask at the same time are turned away: each answer costs a pass over all exports.
	h := promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 2 * askFor, ErrorHandling: promhttp.ContinueOnError})
	mux.Handle("GET "+Path, h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html><title>goaoe</title><p>goaoe: <a href="`+Path+`">metrics</a>`+"\n")
	})
	return mux
}

// Write writes all metrics of a daemon once, in the text format, without those of its process.
func Write(w io.Writer, src Source) error {
	families, err := registry(src, false).Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// Serve listens on an address ("HOST:PORT") and answers until Close. What goes wrong later is logged.
func Serve(addr string, src Source, log *slog.Logger) (*httpd.Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, httpd.Cause(err))
	}
	return httpd.Serve(l, Handler(src), httpd.Options{What: "metrics are", Answer: 30 * time.Second, Grace: time.Second}, log), nil
}
