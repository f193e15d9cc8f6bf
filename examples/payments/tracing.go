package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/otelenv"
)

// service is what this program is called in traces and metrics, unless
// OTEL_SERVICE_NAME says otherwise.
const service = "payments"

// flush exports what is left at the end. That a collector does not take it is
// said, and changes nothing else.
func flush(env *otelenv.Env) {
	if err := env.Shutdown(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "payments: traces and metrics:", err)
	}
}

// serveParticipant is the process of a participant, which is a service of its own in
// traces.
func serveParticipant(args []string) int {
	if os.Getenv("OTEL_TRACES_EXPORTER") == "console" { // its standard output is for its parent
		return participant.Main(args)
	}
	name := cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), service)
	for _, arg := range args {
		if role, ok := strings.CutPrefix(arg, "-role="); ok {
			name += "-" + role
		}
	}
	_ = os.Setenv("OTEL_SERVICE_NAME", name) // fails for no such name
	env, err := otelenv.StartTraces(context.Background(), name)
	if err != nil { // its parent says it of itself
		return participant.Main(args)
	}
	defer flush(env)
	return participant.Main(args)
}
