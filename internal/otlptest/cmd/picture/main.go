// Picture runs examples/payments against the OpenTelemetry Collector's receiver, and
// draws the trace of an order that was undone: the one that docs/tracing.md shows.
//
//	cd internal/otlptest && go run ./cmd/picture ../../docs/tracing.svg
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clewdev/clew/internal/otlptest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture FILE.svg")
		os.Exit(2)
	}
	if err := draw(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func draw(ctx context.Context, path string) error {
	c, err := otlptest.Start(ctx)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	dir, err := os.MkdirTemp("", "picture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "payments")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/payments")
	build.Dir, build.Stderr = filepath.Join("..", ".."), os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	run := exec.CommandContext(ctx, program, "-orders", "12", "-concurrency", "1", "-decline", "0", "-fraud", "0.4", "-outage", "0.2", "-seed", "11")
	run.Dir, run.Stderr = dir, os.Stderr
	run.Env = append(os.Environ(), c.Env("grpc")...)
	if err := run.Run(); err != nil {
		return err
	}
	return drawUndone(path, c.Spans())
}

// drawUndone draws the first order, by its ID, that was undone although a call of it
// had to be repeated.
func drawUndone(path string, spans []otlptest.Span) error {
	byID := slices.SortedStableFunc(slices.Values(spans), func(a, b otlptest.Span) int {
		return strings.Compare(a.Text("clew.execution.id"), b.Text("clew.execution.id"))
	})
	for _, own := range byID {
		if own.Text("clew.saga.unwind") != "complete" || own.Text("clew.activation") != "" {
			continue
		}
		var trace []otlptest.Span
		retried := false
		for _, s := range spans {
			if s.TraceID() == own.TraceID() {
				trace = append(trace, s)
				retried = retried || s.Text("clew.attempt") == "2"
			}
		}
		if !retried {
			continue
		}
		var svg bytes.Buffer
		if err := otlptest.Picture(&svg, own.Text("clew.execution.id")+": "+own.Text("clew.saga.forward")+", and undone", trace); err != nil {
			return err
		}
		return os.WriteFile(path, svg.Bytes(), 0o644)
	}
	return errors.New("no order of this run was undone after a call had to be repeated")
}
