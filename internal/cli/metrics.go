package cli

import (
	"context"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
	"goaoe/internal/metrics"
)

const metricsLong = `Prints the metrics of the daemon once, in the format of Prometheus. That is for collectors that read files, such as the textfile
collector of node_exporter; Prometheus itself asks the daemon, where [metrics] listen says so.`

func newMetricsCmd(env *Env) *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:     "metrics",
		Short:   "Print the metrics for Prometheus once",
		Long:    metricsLong,
		GroupID: groupWatch,
		Example: "  goaoe metrics > /var/lib/node_exporter/goaoe.prom.new && mv /var/lib/node_exporter/goaoe.prom.new /var/lib/node_exporter/goaoe.prom",
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			c := watched(env, socket)
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
			defer cancel()
			if _, err := c.Status(ctx); err != nil {
				return remoteError(err)
			}
			if err := metrics.Write(env.Stdout, c); err != nil {
				return Failf("%v", err)
			}
			return nil
		},
	}
	watchSocket(cmd.Flags(), &socket)
	return cmd
}
