package otlptest

import (
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/awslocal"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// away are the collectors that are none, by what is wrong with them: nothing is to
// be exported, nobody listens, or whoever listens never answers.
func away(t *testing.T) map[string]string {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	nobody, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"nothing": "", "nobody": nobody, "silent": silent.Addr().String()}
}

// exportTo are the variables by which a program exports to what is no collector. It
// would wait for an hour.
func exportTo(at, protocol string) map[string]string {
	if at == "" {
		return nil
	}
	return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + at, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
		"OTEL_EXPORTER_OTLP_TIMEOUT": "3600000", "OTEL_BSP_EXPORT_TIMEOUT": "3600000"}
}

// TestCollectorAway: where there is no collector, or one that takes calls and never
// answers, orders end as they do without, and so does the program.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	collectors := away(t)
	want := ""
	for _, name := range []string{"nothing", "nobody", "silent"} {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			w := newWorld(t, "sqlite", protocol)
			w.env = slices.DeleteFunc(w.env, func(kv string) bool { return strings.HasPrefix(kv, "OTEL_") })
			for k, v := range exportTo(collectors[name], protocol) {
				w.env = append(w.env, k+"="+v)
			}
			got := fmt.Sprintf("%+v", w.payments("-orders", "60", "-decline", "0.3"))
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s, %s: the audit found %s, want %s", name, protocol, got, want)
			}
		}
	}
}

// TestCollectorAwayOnLambda: on Lambda, too, orders end as they do without, and
// invocations are not held up for longer than the flush at their end may take.
func TestCollectorAwayOnLambda(t *testing.T) {
	t.Parallel()
	collectors := away(t)
	for _, tt := range [][2]string{{"nothing", "grpc"}, {"nobody", "grpc"}, {"nobody", "http/protobuf"}, {"silent", "grpc"}, {"silent", "http/protobuf"}} {
		t.Run(strings.Join(tt[:], " "), func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, tt[1])
			c.exports = exportTo(collectors[tt[0]], tt[1])
			h, err := participant.NewHandler(participant.TableConfig{Client: dynamolocal.Client(t), Name: c.newBooks()})
			if err != nil {
				t.Fatal(err)
			}
			outside := httptest.NewServer(h)
			t.Cleanup(outside.Close)
			c.publish("sagas", "1", "payments", map[string]string{"PAYMENTS_ROLE": "sagas", "PAYMENTS_PARTICIPANTS_URL": outside.URL})
			c.Connect("sagas:live")
			orders := map[string]string{"paid": "committed/none", "declined": "rejected/complete", "undone": "rejected/complete"}
			c.begin("sagas:live", "payment", "paid", order("paid", "tok_visa", "sku-1", "1 High St"))
			c.begin("sagas:live", "payment", "declined", order("declined", participant.DeclinedCard, "sku-1", "1 High St"))
			c.begin("sagas:live", "payment", "undone", order("undone", "tok_visa", "sku-1", participant.NoAddress))
			for id, want := range orders {
				ended(t, c.Store, id, want)
			}
			c.wantQuick(tt[0] == "silent")
		})
	}
}

// wantQuick: no invocation took as long as one takes that waits for a collector, and
// those that have nothing to do take no longer than the flush, which has to be seen
// where the collector is silent. The quickest of five counts, as this machine may be
// busy.
func (c *cloud) wantQuick(silent bool) {
	c.t.Helper()
	quickest := time.Hour
	for range 5 {
		r, err := c.Lambda.Invoke(c.t.Context(), "sagas:live", awslocal.Sweep)
		if err != nil || r.FunctionError != "" {
			c.t.Fatalf("a sweep: %v, %+v", err, r)
		}
		c.wantBounded(r.Duration)
		quickest = min(quickest, r.Duration)
	}
	c.Disconnect()
	slowest := time.Duration(0)
	for _, r := range c.Lambda.Records("sagas:1") {
		slowest = max(slowest, r.Duration)
		c.wantBounded(r.Duration)
		if r.Error != "" {
			c.t.Errorf("an invocation ended after %v with error %q", r.Duration, r.Error)
		}
	}
	c.t.Logf("the quickest sweep took %v, the slowest invocation of %d %v", quickest, len(c.Lambda.Records("sagas:1")), slowest)
	if quickest > 2*time.Second {
		c.t.Errorf("the quickest sweep of five took %v, want half a second or so", quickest)
	}
	if silent && quickest < 400*time.Millisecond {
		c.t.Errorf("the quickest sweep of five took %v, which is not the flush", quickest)
	}
}

// wantBounded ends the test when an invocation took as long as one that waits.
func (c *cloud) wantBounded(took time.Duration) {
	c.t.Helper()
	if took > 15*time.Second {
		c.t.Fatalf("an invocation took %v", took)
	}
}
