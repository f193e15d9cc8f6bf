package lambdahost

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
)

func startOf(id string, n int) string {
	return fmt.Sprintf(`{"clew": "start", "definition": "waits", "id": %q, "input": %d}`, id, n)
}

// TestWakeUps: what waits up to 15 minutes is woken by a message that says all
// that is needed, and longer waits are left to the sweep.
func TestWakeUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []struct {
			wait time.Duration
			want int
		}{{1500 * time.Millisecond, 2}, {15 * time.Minute, 900}, {15*time.Minute + time.Second, -1}} {
			c := newCloud(t)
			c.must(c.host("7", nil, waits(d.wait)), startOf("x", 1))
			if d.want < 0 {
				if n := c.queued(); n != 0 {
					t.Errorf("a wait of %v: got %d messages, want none", d.wait, n)
				}
				continue
			}
			at := c.queue[0].at
			if got := time.Until(at); got != time.Duration(d.want)*time.Second {
				t.Errorf("a wait of %v: got a message for in %v, want %d s", d.wait, got, d.want)
			}
			m, _ := c.next()
			var r resume
			if err := json.Unmarshal([]byte(m.body), &r); err != nil {
				t.Fatal(err)
			}
			if r.ID != "x" || r.Definition != "waits" || r.Version != "1" || *r.Pin != pinOf("fn", "7") || r.Hops != 1 || time.Now() != at {
				t.Errorf("a wait of %v: got %s", d.wait, m.body)
			}
		}
	})
}

// TestResumeThatIsNot: what is early, taken, over or unknown is left alone, and
// nothing of it is an error.
func TestResumeThatIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", nil, waits(time.Minute))
		c.must(h, startOf("x", 2))
		m, _ := c.next()
		early := `{"clew": "resume", "id": "x", "at": "` + time.Now().Add(20*time.Second).UTC().Format(time.RFC3339) + `"}`
		if got := c.must(h, early); !strings.Contains(got, "not due yet") || c.queued() != 1 || time.Until(c.queue[0].at) != 20*time.Second {
			t.Errorf("early: got %s and %d messages, want it put off", got, c.queued())
		}
		c.queue = nil
		began := time.Now()
		bit := strings.Replace(m.body, `"at":"`, `"at":"`+time.Now().Add(300*time.Millisecond).UTC().Format(time.RFC3339Nano)+`","x":"`, 1)
		bit = bit[:strings.Index(bit, `,"x":`)] + bit[strings.Index(bit, `,"pin"`):]
		if got := status(t, c.must(h, bit)); got != "suspended" || time.Since(began) != 300*time.Millisecond {
			t.Errorf("a bit early: got %s after %v, want it to wait here and run", got, time.Since(began))
		}
		c.queue = nil
		if got := c.must(h, m.body); !strings.Contains(got, "not due") {
			t.Errorf("a repetition: got %s, want skipped", got)
		}
		if got := c.must(h, `{"clew": "resume", "id": "x"}`); !strings.Contains(got, "due at") || c.queued() != 1 {
			t.Errorf("without a time: got %s and %d messages, want it woken when it is due", got, c.queued())
		}
		if got := c.must(h, `{"clew": "resume", "id": "nobody"}`); !strings.Contains(got, "no such execution") {
			t.Errorf("nobody: got %s", got)
		}
		m, _ = c.next()
		if got := status(t, c.must(h, m.body)); got != "succeeded" {
			t.Errorf("in time: got %s, want succeeded", got)
		}
		for _, again := range []string{m.body, `{"clew": "resume", "id": "x"}`} {
			if got := c.must(h, again); !strings.Contains(got, "skipped") {
				t.Errorf("after its end: got %s, want skipped", got)
			}
		}
	})
}

// TestPins: an execution goes on in the version of the function that had it.
func TestPins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		def := waits(time.Minute)
		old, new := c.host("7", nil, def), c.host("8", nil, def)
		c.must(old, startOf("x", 3))
		for _, wake := range []func() string{
			func() string { m, _ := c.next(); return m.body },
			func() string { return `{"clew": "resume", "id": "x"}` }, // as after a delivery: the pin is read
		} {
			body := wake()
			if got := c.must(new, body); !strings.Contains(got, "handed to version 7") {
				t.Fatalf("got %s, want it handed over", got)
			}
		}
		handed := strings.Replace(c.invoked["7"], `"hops":1`, `"hops":5`, 1)
		if !strings.Contains(handed, `"pin":"`+pinOf("fn", "7")+`"`) || !strings.Contains(handed, `"hops":5`) {
			t.Errorf("got %s, want a resume for version 7", handed)
		}
		if got := status(t, c.must(old, handed)); got != "suspended" {
			t.Errorf("in version 7: got %s, want suspended", got)
		}
		m, _ := c.next()
		if m.hops != 6 {
			t.Errorf("got a wake-up after %d hops, want 6: one more than the invocation", m.hops)
		}

		// Without a way to version 7 it stays.
		none := c.host("8", func(o *Options) { o.Lambda = nil }, def)
		if _, err := c.event(none, m.body); err == nil || !strings.Contains(err.Error(), "Options.Lambda") {
			t.Errorf("without Lambda: got %v, want an error that names the remedy", err)
		}
		// Once there is no version 7 any more, this one takes it.
		c.gone = true
		if got := status(t, c.must(new, m.body)); got != "suspended" || durable.HostOf(c.load("x").Owner) != pinOf("fn", "8") {
			t.Errorf("version 7 gone: got %s, owner %s, want it to go on in 8", got, c.load("x").Owner)
		}
	})
}

// TestPinEndsWithAVerb: what an operator has acted on goes on in the version
// that finds it, which has been deployed since.
func TestPinEndsWithAVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		bad := durable.Define("d", "1", func(*durable.Context, int) (int, error) { panic("a bug") })
		good := durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 1, nil })
		if got := status(t, c.must(c.host("7", nil, bad), `{"clew": "start", "definition": "d", "id": "x", "input": 0}`)); got != "parked" {
			t.Fatalf("got %s, want parked", got)
		}
		h := c.host("8", nil, good)
		if got := c.must(h, `{"clew": "resume", "id": "x"}`); !strings.Contains(got, "parked, and not due") {
			t.Errorf("parked: got %s, want it left alone", got)
		}
		e, err := durable.New(c.store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Act(t.Context(), "x", c.load("x").Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "mended"}); err != nil {
			t.Fatal(err)
		}
		if got := status(t, c.must(h, `{"clew": "resume", "id": "x"}`)); got != "succeeded" {
			t.Errorf("after resume: got %s, want succeeded in version 8", got)
		}
	})
}

// TestUnserved: what nobody here can run stays due, and is reported.
func TestUnserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.must(c.host("7", nil, waits(time.Minute)), startOf("x", 1))
		m, _ := c.next()
		other := durable.Define("other", "1", func(*durable.Context, int) (int, error) { return 0, nil })
		h := c.host("7", nil, other)
		_, err := c.event(h, m.body)
		if !errors.Is(err, durable.ErrUnknownDefinition) || !strings.Contains(err.Error(), "run a worker") || !strings.Contains(c.metrics.String(), `"Unserved":1`) {
			t.Errorf("got %v, metrics %s", err, c.metrics)
		}
		if rec := c.load("x"); rec.Status != durable.StatusSuspended || rec.Due.After(time.Now()) {
			t.Errorf("got %v due %v, want it as it was", rec.Status, rec.Due)
		}
	})
}

// TestBatch: messages that fail are named, and the others are done, side by side.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", nil, waits(time.Minute))
		began := time.Now()
		got := c.must(h, batchOf(startOf("a", 1), "garbage", startOf("b", 1), `{"clew": "start", "definition": "nobody", "id": "c", "input": 1}`, `{"foo": 1}`))
		if want := []string{"m1", "m3", "m4"}; !slices.Equal(failures(t, got), want) {
			t.Errorf("got %s, want %v to fail", got, want)
		}
		if d := time.Since(began); d != 0 || c.queued() != 2 {
			t.Errorf("took %v with %d wake-ups, want none and 2", d, c.queued())
		}
		if n := strings.Count(c.logs.String(), "message failed"); n != 3 {
			t.Errorf("got %d failures in the log, want 3", n)
		}
		if got := c.must(h, batchOf()); got != `{"batchItemFailures":[]}` {
			t.Errorf("an empty batch: got %s", got)
		}
	})
}

// TestQueueRefuses: a wake-up that is refused is sent again; if it cannot be
// sent, the message of that execution stays in the queue.
func TestQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", nil, waits(time.Minute))
		c.must(h, startOf("x", 3))
		m, _ := c.next()
		c.refuse = 3
		if got := failures(t, c.must(h, batchOf(m.body))); len(got) != 0 || c.queued() != 1 {
			t.Errorf("refused for a moment: got failures %v and %d messages, want none and one", got, c.queued())
		}
		m, _ = c.next()
		c.refuse = 1000
		if got := failures(t, c.must(h, batchOf(m.body))); len(got) != 1 || c.queued() != 0 {
			t.Errorf("refused: got failures %v and %d messages, want the message to stay", got, c.queued())
		}
		c.refuse = 0
		time.Sleep(time.Minute)
		if got := failures(t, c.must(h, batchOf(m.body))); len(got) != 0 || c.load("x").Status != durable.StatusSuspended && c.load("x").Status != durable.StatusSucceeded {
			t.Errorf("again: got failures %v, %v", got, c.load("x").Status)
		}
	})
}

// TestChains: with RecursiveLoop a chain of wake-ups goes on for ever; without,
// it is left to the sweep before Lambda would end it. Either way 100 waits pass.
func TestChains(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint("allowed ", allowed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t)
				h := c.host("7", func(o *Options) { o.RecursiveLoop = allowed }, waits(5*time.Second))
				began, sweeps, most := time.Now(), 0, 0
				c.must(h, startOf("x", 100))
				for c.load("x").Status == durable.StatusSuspended {
					m, ok := c.next()
					if !ok {
						sweeps++
						time.Sleep(time.Minute)
						c.must(h, `{"clew": "sweep"}`)
						continue
					}
					if m.hops == 0 {
						t.Fatal("a message after no hop: the sweep is one too")
					}
					if most = max(most, m.hops); !allowed && m.hops >= 16 {
						t.Fatalf("a message after %d hops: Lambda would drop it", m.hops)
					}
					if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 {
						t.Fatalf("failed: %s", c.logs)
					}
				}
				if got := c.load("x").Status; got != durable.StatusSucceeded {
					t.Errorf("got %v", got)
				}
				if allowed && (sweeps != 0 || most != 100) || !allowed && (sweeps < 6 || most > maxHops) {
					t.Errorf("got %d sweeps and chains of up to %d", sweeps, most)
				}
				t.Logf("%v for 100 waits of 5 s, %d sweeps, chains of up to %d", time.Since(began), sweeps, most)
			})
		})
	}
}

// TestShutdown: a sandbox that is told to end brings what it is given back.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range 50 { // whichever way it goes
			c := newCloud(t)
			h := c.host("7", nil, waits(time.Minute))
			c.must(h, startOf("x", 2))
			m, _ := c.next()
			h.stop()
			out, err := c.event(h, batchOf(m.body))
			if err == nil && len(failures(t, out)) == 0 && c.queued() == 0 {
				t.Fatalf("run %d: the message is gone: %s, %v", n, out, c.load("x").Status)
			}
		}
	})
}
