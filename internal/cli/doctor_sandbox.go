package cli

import (
	"context"
	"fmt"

	"goaoe/internal/sandbox"
)

// checkSandbox says which rights the daemon has kept, or would keep, that it does not need.
func checkSandbox(_ context.Context, p *patient) []finding {
	if p.status != nil {
		var out []finding
		for _, part := range p.status.Sandbox {
			if part.InForce {
				continue
			}
			f := finding{Level: levelNote, Subject: part.Name, Text: "the daemon is not confined: " + part.Text}
			if part.Text == switchedOff {
				f.Fix = fmt.Sprintf("sandbox-%s = true in [global], no --no-sandbox, and a restart", part.Name)
			}
			out = append(out, f)
		}
		return out
	}
	var out []finding
	for _, part := range sandbox.Available() {
		if !part.InForce {
			out = append(out, finding{Level: levelNote, Subject: part.Name, Text: "a daemon will not be confined: " + part.Text})
		}
	}
	return out
}
