package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/telemetry"
)

// TestLogHandler: logs of handlers and bodies say where they come from, and a
// replay says nothing again.
func TestLogHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(telemetry.NewLogHandler(slog.NewTextHandler(&out, nil)))
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			log.InfoContext(ctx, "begins")
			if _, err := durable.Step(ctx, "s", func(c context.Context) (int, error) { log.InfoContext(c, "in the body"); return 1, nil }); err != nil {
				return 0, err
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return 0, err
			}
			log.InfoContext(ctx, "ends")
			return 1, nil
		})
		h := newHosts(t, telemetry.Options{}, def)
		if err := runs(h, def, "x", 1); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "begins") || !strings.Contains(lines[2], "ends") {
			t.Fatalf("got\n%s\nwant three lines", out.String())
		}
		trace := "trace_id=" + find(t, h.spans.GetSpans(), "d").SpanContext.TraceID().String()
		body := "span_id=" + find(t, h.spans.GetSpans(), "attempt s").SpanContext.SpanID().String()
		for i, wants := range [][]string{{"execution=x", trace, "span_id="}, {"execution=x", "step=s", "attempt=1", trace, body}, {"execution=x", trace}} {
			for _, want := range wants {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %s, want %s in it", i, lines[i], want)
				}
			}
		}
	})
}

// TestLogHandlerInSagas: bodies and undos of sagas say where they come from too.
func TestLogHandlerInSagas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(telemetry.NewLogHandler(slog.NewTextHandler(&out, nil)))
		b := saga.New[string, string]("s", "1")
		saga.Step(b, "a", func(c saga.Context, _ string) (string, error) { log.InfoContext(c, "does"); return "", nil }).
			Undo(func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
				log.InfoContext(c, "undoes")
				return nil
			})
		saga.Pivot(b, "p", func(saga.Context, string) (string, error) { return "", saga.Reject(context.Canceled) }).ParkInDoubt()
		sg, err := b.Build(func(saga.Context, string) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		h := newHosts(t, telemetry.Options{}, sg)
		_ = runs(h, sg.Definition, "x", "")
		for _, want := range []string{"msg=does trace_id=", "execution=x step=a attempt=1", "msg=undoes trace_id=", "execution=x step=a/undo attempt=1"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("got\n%s\nwant %s in it", out.String(), want)
			}
		}
	})
}

// TestLogHandlerKeepsWhatIsThere: what a logger or a record says already is not
// said twice, and groups do not swallow what is added.
func TestLogHandlerKeepsWhatIsThere(t *testing.T) {
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	const id, span = "trace_id=01000000000000000000000000000000", "span_id=0200000000000000"
	for name, tt := range map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"added":           {func(l *slog.Logger) { l.InfoContext(ctx, "m", "a", 1) }, "msg=m a=1 " + id + " " + span},
		"in the record":   {func(l *slog.Logger) { l.InfoContext(ctx, "m", "trace_id", "mine") }, "msg=m trace_id=mine " + span},
		"in the logger":   {func(l *slog.Logger) { l.With("span_id", "mine").InfoContext(ctx, "m") }, "msg=m span_id=mine " + id},
		"outside a group": {func(l *slog.Logger) { l.With("a", 1).WithGroup("g").With("b", 2).InfoContext(ctx, "m", "c", 3) }, "msg=m a=1 " + id + " " + span + " g.b=2 g.c=3"},
		"not a group":     {func(l *slog.Logger) { l.WithGroup("").InfoContext(ctx, "m") }, "msg=m " + id + " " + span},
		"both in a group": {func(l *slog.Logger) {
			l.With("trace_id", "x", "span_id", "y").WithGroup("g").InfoContext(ctx, "m", "c", 3)
		}, "msg=m trace_id=x span_id=y g.c=3"},
		"no span": {func(l *slog.Logger) { l.WithGroup("g").Info("m", "c", 3) }, "msg=m g.c=3"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			text := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
					return slog.Attr{}
				}
				return a
			}})
			tt.log(slog.New(telemetry.NewLogHandler(text)))
			if got := strings.TrimSpace(out.String()); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}
