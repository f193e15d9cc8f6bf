package otlptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/awslocal"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/lambdalocal"
)

// cloud is a world in which programs are functions on Lambda.
type cloud struct {
	*world
	*awslocal.Stack
	exports map[string]string // environment
}

func newCloud(t *testing.T, protocol string) *cloud {
	t.Helper()
	c := &cloud{newWorld(t, "dynamodb", protocol), awslocal.New(t, awslocal.Options{Sweep: 2 * time.Second, MaxReceives: 5}), nil}
	c.store = dynamolocal.URL(t, c.Table)
	// Nothing is exported but by the flush at the end of an invocation.
	c.exports = map[string]string{"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
	for _, kv := range c.Collector.Env(protocol) {
		name, value, _ := strings.Cut(kv, "=")
		c.exports[name] = value
	}
	return c
}

// publish publishes a version of a program as a function.
func (c *cloud) publish(name, version, program string, env map[string]string) {
	c.t.Helper()
	all := map[string]string{}
	maps.Copy(all, c.exports)
	maps.Copy(all, env)
	c.Publish(lambdalocal.Function{Name: name, Version: version, Bootstrap: filepath.Join(programs, program), Timeout: 30 * time.Second, Concurrency: 4, Env: all})
}

// newBooks makes a table for the books of an outside world. Those of both examples
// have the same keys.
func (c *cloud) newBooks() (table string) {
	c.t.Helper()
	table = c.table()
	if err := participant.CreateTable(c.t.Context(), dynamolocal.Client(c.t), table); err != nil {
		c.t.Fatal(err)
	}
	return table
}

// retire ends the sandboxes of the sagas, which stand still, when what they do is
// done. They get no time to export anything.
func (c *cloud) retire() {
	c.t.Helper()
	c.Disconnect()
	if err := c.Lambda.Retire(c.t.Context(), "sagas:live"); err != nil {
		c.t.Fatal(err)
	}
}

// begin has a function start an execution.
func (c *cloud) begin(function, definition, id string, input map[string]any) {
	c.t.Helper()
	event, err := json.Marshal(map[string]any{"clew": "start", "definition": definition, "id": id, "input": input})
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		r, err := c.Lambda.Invoke(c.t.Context(), function, event)
		switch {
		case err == nil && r.FunctionError == "":
			c.wantBounded(r.Duration)
			return
		case err == nil:
			c.t.Fatalf("%s: %s", id, r.Payload)
		case !errors.Is(err, lambdalocal.ErrThrottled):
			c.t.Fatalf("%s: %v", id, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// flushed tells whether all that was to be exported has been, by what the functions
// say: a machine that is so slow that a flush takes longer than half a second, which
// is all that it gets, loses spans, as is promised. That may happen now and then.
func (c *cloud) flushed(functions ...string) bool {
	c.t.Helper()
	late, of := 0, 0
	for _, f := range functions {
		name, _, _ := strings.Cut(f, ":")
		late += strings.Count(c.Lambda.Logs(name), "flushing telemetry failed")
		of += c.Lambda.Stats(f).Invocations
	}
	if late > 0 {
		c.t.Logf("%d flushes of %d were too slow on this machine: what they lost is not looked for", late, of)
	}
	if late > of/4 {
		c.t.Errorf("%d flushes of %d failed", late, of)
	}
	return late == 0
}

// order is the input of a payment.
func order(id, card, sku, address string) map[string]any {
	return map[string]any{"id": id, "card": card, "amount_cents": 700, "sku": sku, "qty": 1, "address": address}
}

// TestPaymentsOnLambda: orders that are paid, refused, and stuck until an operator
// has decided, in sandboxes that stand still between invocations, are one trace
// each, and nothing is missing though none of them ever moves again.
func TestPaymentsOnLambda(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, protocol)
			outside := map[string]string{"PAYMENTS_ROLE": "participants", "PAYMENTS_BOOKS_TABLE": c.newBooks()}
			c.publish("participants", "1", "payments", outside)
			c.publish("sagas", "1", "payments", map[string]string{"PAYMENTS_ROLE": "sagas", "PAYMENTS_PARTICIPANTS_URL": c.URL("participants:live")})
			c.Connect("sagas:live")
			want := map[string]string{}
			for i, o := range []struct{ card, sku, address, want string }{
				{"tok_visa", "sku-1", "1 High St", "committed/none"}, {"tok_visa", "sku-2", "2 High St", "committed/none"},
				{participant.DeclinedCard, "sku-1", "1 High St", "rejected/complete"}, {"tok_visa", "sku-1", participant.NoAddress, "rejected/complete"},
				{participant.RiskyCard, participant.JammedSKU, "3 High St", "rejected/complete"}, {participant.RiskyCard, participant.JammedSKU, "4 High St", "rejected/complete"},
			} {
				id := fmt.Sprint("order-", i)
				c.begin("sagas:live", "payment", id, order(id, o.card, o.sku, o.address))
				want[id] = o.want
			}
			for _, id := range []string{"order-4", "order-5"} {
				until(t, c.Store, id, "parked", func(rec *durable.Record) bool { return rec.Status == durable.StatusParked })
			}
			c.retire() // and others go on
			outside["PAYMENTS_MENDED"] = "true"
			c.publish("participants", "2", "payments", outside)
			c.Connect("sagas:live")
			if parked := c.decide(); parked != 2 {
				t.Errorf("an operator decided about %d orders, want 2", parked)
			}
			for id, status := range want {
				ended(t, c.Store, id, status)
			}
			c.Disconnect()
			recs := c.records()
			if !c.flushed("sagas:1") {
				return
			}
			st := newStory(t, c.Spans(), nil)
			st.check(recs)
			if len(recs) != len(want) {
				t.Errorf("%d executions, want %d", len(recs), len(want))
			}
			if got := st.hosts("order-5"); len(got) < 2 {
				t.Errorf("order-5 was in the processes %v, want two or more", got)
			}
			c.wantVerbs(2)
			c.wantCounters(recs, 2)
		})
	}
}

// functions are hosts that are sandboxes of the function that runs onboardings.
type functions struct {
	*cloud
	pages string // URL of the function that answers questions
}

func newFunctions(t *testing.T, protocol string) *functions {
	t.Helper()
	f := &functions{cloud: newCloud(t, protocol)}
	table := f.newBooks()
	f.books = dynamolocal.URL(t, table)
	env := map[string]string{"ONBOARDING_ROLE": "pages", "ONBOARDING_DAY": day.String()}
	f.publish("pages", "1", "onboarding", env)
	f.pages = f.URL("pages:live")
	env["ONBOARDING_ROLE"], env["ONBOARDING_BOOKS_TABLE"], env["ONBOARDING_URL"] = "sagas", table, f.pages
	f.publish("sagas", "1", "onboarding", env)
	return f
}

func (f *functions) up() (at string) {
	f.Connect("sagas:live")
	return f.pages
}

func (f *functions) down() { f.retire() }

func (f *functions) hire(name string) {
	id := strings.ToLower(name)
	f.begin("sagas:live", "onboarding", id, map[string]any{"name": name, "email": id + "@home.example", "manager": "grace@example.com", "laptop": "light, 13 inch"})
}

// TestOnboardingOnLambda: onboardings over three days, during which sandboxes stand
// still, and are ended, are one trace each.
func TestOnboardingOnLambda(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := newFunctions(t, protocol)
			f.threeDays(f, func() durable.Store { return f.Store })
			if f.flushed("sagas:1", "pages:1") {
				f.wantThreeDays()
			}
		})
	}
}

// TestFromHostToHost: an onboarding that goes from Lambda to a worker, and one that
// goes the other way, are one trace each.
func TestFromHostToHost(t *testing.T) {
	t.Parallel()
	f := newFunctions(t, "grpc")
	f.up()
	f.hire("Ada")
	asked(t, f.Store, "ada", "identity check")
	f.down()
	w := &workers{world: f.world}
	at := w.up()
	w.hire("Bob")
	asked(t, f.Store, "bob", "identity check")
	w.onboarding("identity", "pass", "ada")
	asked(t, f.Store, "ada", "approval")
	w.approve("ada", at)
	ended(t, f.Store, "ada", "committed/none")
	w.onboarding("identity", "pass", "bob")
	w.down()
	f.up()
	asked(t, f.Store, "bob", "approval")
	w.onboarding("refuse", "bob")
	ended(t, f.Store, "bob", "rejected/complete")
	f.down()
	if !f.flushed("sagas:1", "pages:1") {
		return
	}
	st := newStory(t, f.Spans(), nil)
	st.check(f.records())
	for _, id := range []string{"ada", "bob"} {
		if got := st.hosts(id); len(got) < 2 {
			t.Errorf("%s was in the processes %v, want two or more", id, got)
		}
	}
}
