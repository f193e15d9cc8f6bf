package otlptest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/clewdev/clew/durable"
)

// once leaves out spans that have arrived twice, where executions are told again:
// they must be the same in all that is said of them.
func once(t *testing.T, spans []Span) (all []Span) {
	t.Helper()
	first := map[pcommon.SpanID]string{}
	for _, s := range spans {
		is := whole(s)
		was, twice := first[s.SpanID()]
		if !twice {
			first[s.SpanID()] = is
			all = append(all, s)
		} else if is != was {
			t.Errorf("told again it is\n%s\nwant\n%s", is, was)
		}
	}
	return all
}

// whole is all that is said of a span.
func whole(s Span) string {
	text := fmt.Sprint(s.Name(), " of ", s.Service, ", ", s.Kind(), ", ", s.TraceID(), " ", s.SpanID(), " under ", s.ParentSpanID(),
		", from ", at(s.StartTimestamp()), " to ", at(s.EndTimestamp()), ", ", s.Status().Code(), " ", s.Status().Message(), " ", s.Attributes().AsRaw())
	for _, e := range s.Events().All() {
		text += fmt.Sprint("\n\tevent ", e.Name(), " at ", at(e.Timestamp()), " ", e.Attributes().AsRaw())
	}
	for _, l := range s.Links().All() {
		text += fmt.Sprint("\n\tlink to ", l.TraceID(), " ", l.SpanID(), " ", l.Attributes().AsRaw())
	}
	return text
}

// TestKilledAfterTheEnd: a process is killed when executions have ended of which it
// had exported attempts, and not the end. clew trace completes their traces, and so
// does the process that comes after it, by itself, which finishes the others too.
func TestKilledAfterTheEnd(t *testing.T) {
	t.Parallel()
	for store, protocol := range map[string]string{"sqlite": "http/protobuf", "dynamodb": "grpc"} {
		t.Run(store+" "+protocol, func(t *testing.T) {
			t.Parallel()
			const orders, ended = 10, 5
			w := newWorld(t, store, protocol)
			args := []string{"-json", "-store", w.store, "-orders", fmt.Sprint(orders), "-concurrency", fmt.Sprint(ended), "-decline", "0", "-fraud", "0", "-nowhere", "0", "-step-delay", "500ms"}
			usual := w.env
			// A batch is never sent for its age, and the first one when it has all attempts of the
			// first orders, and little else.
			w.env = append(slices.Clone(usual), "OTEL_BSP_SCHEDULE_DELAY=3600000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=50")
			cmd, _, errs := w.start("payments", args...)
			killed := map[string]int64{}
			for _, h := range w.killWhen(cmd, errs, func(heads []durable.Head) bool { return endedOf(heads) >= ended }) {
				killed[h.ID] = h.Epoch
			}
			over := w.ended()
			if left := incomplete(w.Spans(), over); len(left) == 0 {
				t.Fatalf("%d executions had ended, of which all was exported: this shows nothing", len(over))
			}
			t.Logf("%d of %d executions that had ended are incomplete", len(incomplete(w.Spans(), over)), len(over))
			w.traceAgain(protocol, over, killed, usual)

			w.env = usual
			cmd, _, errs = w.start("payments", args...)
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, errs)
			}
			want := fmt.Sprintf("payments: exported the traces of %d executions again", len(over))
			if said := strings.Count(errs.String(), "again"); said != 1 || !strings.Contains(errs.String(), want) {
				t.Errorf("it said %q, want one line with %q", errs, want)
			}
			recs := w.records()
			newStory(t, once(t, w.Spans()), killed).check(recs)
			if len(recs) != orders {
				t.Errorf("%d executions, want %d", len(recs), orders)
			}
		})
	}
}

// traceAgain lets clew export those that have ended, to a collector of its own: what
// both have got is whole.
func (w *world) traceAgain(protocol string, over []*durable.Record, killed map[string]int64, usual []string) {
	w.t.Helper()
	c, err := Start(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	w.env = append(append(slices.Clone(usual), c.Env(protocol)...), "OTEL_SERVICE_NAME=payments", "OTEL_BSP_MAX_QUEUE_SIZE=20", "OTEL_TRACES_SAMPLER=always_off")
	for _, args := range [][]string{{"trace", "--ended-since", "10m"}, {"trace", over[0].ID}} {
		out := w.clew(args...)
		n, spans := 0, 0
		if _, err := fmt.Sscanf(out, "exported %d executions, %d spans", &n, &spans); err != nil || spans == 0 {
			w.t.Errorf("clew %q: got %q", args, out)
		}
		if len(args) == 3 && (n != len(over) || spans != len(c.Spans())) {
			w.t.Errorf("clew %q: it says %q, and %d spans have arrived, of %d executions", args, out, len(c.Spans()), len(over))
		}
	}
	traces := map[string]bool{}
	for _, s := range c.Spans() {
		traces[s.TraceID().String()] = true
	}
	both := slices.DeleteFunc(append(w.Spans(), c.Spans()...), func(s Span) bool { return !traces[s.TraceID().String()] })
	newStory(w.t, once(w.t, both), killed).check(over)
}

// incomplete are the executions, of those that have ended, of which spans have
// arrived that have no parent.
func incomplete(spans []Span, over []*durable.Record) (ids []string) {
	have := map[pcommon.SpanID]bool{}
	for _, s := range spans {
		have[s.SpanID()] = true
	}
	for _, rec := range over {
		if slices.ContainsFunc(spans, func(s Span) bool {
			return s.Text("clew.execution.id") == rec.ID && !s.ParentSpanID().IsEmpty() && !have[s.ParentSpanID()]
		}) {
			ids = append(ids, rec.ID)
		}
	}
	return ids
}

func endedOf(heads []durable.Head) (n int) {
	for i := range heads {
		if heads[i].Status.Ended() {
			n++
		}
	}
	return n
}

// ended reads the executions that have ended.
func (w *world) ended() []*durable.Record {
	w.t.Helper()
	return slices.DeleteFunc(w.records(), func(rec *durable.Record) bool { return !rec.Status.Ended() })
}
