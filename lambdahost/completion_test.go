package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/clewdev/clew/durable"
)

// TestCompletionsAgain: SQS delivers at least once and Lambda repeats invocations.
// A completion that comes again is no failure, also after the end; another one,
// which lost, is.
func TestCompletionsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		ids := make(chan string, 1)
		h := c.host("7", nil, asks(ids))
		cb := func(id string) string {
			c.must(h, `{"clew": "start", "definition": "asks", "id": "`+id+`", "input": 0}`)
			c.queue = nil
			return <-ids
		}
		a := cb("a")
		first := batchOf(`{"clew": "callback", "id": "` + a + `", "result": "yes"}`) // message m0
		for range 2 {
			if got := failures(t, c.must(h, first)); len(got) > 0 {
				t.Errorf("the same message: got failures %v: %s", got, c.logs)
			}
		}
		other := batchOf(`{"clew": "sweep"}`, `{"clew": "callback", "id": "`+a+`", "result": "no"}`)
		if got := failures(t, c.must(h, other)); fmt.Sprint(got) != "[m1]" {
			t.Errorf("another message: got failures %v, want it to fail", got)
		}
		m, _ := c.next()
		c.must(h, m.body)
		<-ids // the replay's
		if got := failures(t, c.must(h, first)); len(got) > 0 || string(c.load("a").Result) != `"yes"` {
			t.Errorf("after the end: got failures %v, result %s", got, c.load("a").Result)
		}
		if got := failures(t, c.must(h, other)); fmt.Sprint(got) != "[m1]" {
			t.Errorf("another message after the end: got failures %v, want it to fail", got)
		}
		beat := batchOf(`{"clew": "sweep"}`, `{"clew": "callback", "id": "`+a+`", "heartbeat": true}`)
		if got := failures(t, c.must(h, beat)); len(got) > 0 {
			t.Errorf("a heartbeat after the end: got failures %v, want none", got)
		}

		b := cb("b")
		c.must(h, `{"clew": "callback", "id": "`+b+`", "heartbeat": true}`)
		if n := c.queued(); n != 0 {
			t.Errorf("a heartbeat: got %d messages, want none: it wakes nobody", n)
		}
		invoke := func(request, result string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := h.Invoke(lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: request}), []byte(`{"clew": "callback", "id": "`+b+`", `+result+`}`))
			return err
		}
		for range 3 {
			if err := invoke("r1", `"result": 1`); err != nil {
				t.Errorf("the same invocation: got %v, want nil", err)
			}
		}
		if err := invoke("r2", `"result": 1`); !errors.Is(err, durable.ErrDelivered) {
			t.Errorf("another invocation: got %v, want ErrDelivered", err)
		}
		if err := invoke("r2", `"heartbeat": true`); !errors.Is(err, durable.ErrDelivered) {
			t.Errorf("an invocation for a heartbeat: got %v, want ErrDelivered", err)
		}
	})
}
