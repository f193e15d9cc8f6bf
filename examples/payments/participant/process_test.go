package participant

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// orphan starts participants in a parent of their own and returns the parent,
// a client, and a function that waits until parent and participants are gone.
func orphan(t *testing.T, cfg Config) (*os.Process, *Client, func()) {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Everyone holds the write end of this pipe: its end is theirs.
	alive, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "parent", string(config))
	cmd.Stderr = held
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	held.Close()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var urls map[Role]string
	if err := json.Unmarshal(line, &urls); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	gone := func() {
		t.Helper()
		alive.SetReadDeadline(time.Now().Add(8 * time.Second))
		if said, err := io.ReadAll(alive); err != nil {
			t.Errorf("participants outlive their parent: %v", err)
		} else if len(said) > 0 {
			t.Errorf("participants said %s", said)
		}
	}
	return cmd.Process, newClient(t, urls, nil), gone
}

// When the parent dies by kill -9, the participants finish what they hold, and
// end.
func TestParentKilled(t *testing.T) {
	path := tempPath(t)
	cfg := faulty(path)
	cfg.Drain = 2 * time.Second
	process, c, gone := orphan(t, cfg)
	late := func(order string) string { return keyMeeting(testFaults, order, delayed) }
	for _, order := range []string{"a", "b"} {
		abandon(t, path, Gateway, func(ctx context.Context) error {
			_, err := c.Authorize(ctx, late(order), 1, order, "tok_visa", 1)
			return err
		})
	}
	process.Kill()
	// A new set begins while the old one lingers.
	world := start(t, Config{Path: path})
	wantNil(t, world.Client().Void(t.Context(), "void", 1, late("b")))
	wantNil(t, WaitIdle(timeout(t, 8*time.Second), Files(path)))
	gone()
	wantRows(t, path, Gateway, `SELECT order_id FROM effects`, "a")
	wantRows(t, path, Gateway, `SELECT outcome FROM calls ORDER BY 1`, "applied", "nothing", "too_late")
}

// What was answered survives the kill -9 of everyone, and a killed call that
// was held is seen as such.
func TestParticipantsKilled(t *testing.T) {
	path := tempPath(t)
	world := start(t, faulty(path))
	c := world.Client()
	key := keyMeeting(testFaults, "key", "", "")
	id, err := c.Authorize(t.Context(), key, 1, OrderID(1), "tok_visa", 5)
	wantNil(t, err)
	abandon(t, path, Gateway, func(ctx context.Context) error {
		_, err := c.Authorize(ctx, keyMeeting(testFaults, "late", delayed), 1, OrderID(2), "tok_visa", 5)
		return err
	})
	world.kill()

	report, err := Audit(t.Context(), Files(path), 2)
	wantNil(t, err)
	if report.Parked != 1 || report.Undone != 1 || report.MissingUndos != 1 || report.Held != 1 {
		t.Errorf("got %+v, want one parked and one call held", report)
	}
	world = start(t, faulty(path))
	again, err := world.Client().Authorize(t.Context(), key, 2, OrderID(1), "tok_visa", 5)
	wantNil(t, err)
	if again != id {
		t.Errorf("got %q, want %q", again, id)
	}
}

// Two sets on the same files, 64 callers who send every call to both: each
// effect happens once, and nobody hears of a lock.
func TestTwoSets(t *testing.T) {
	const callers, orders = 64, 2
	path := tempPath(t)
	clients := []*Client{start(t, Config{Path: path}).Client(), start(t, Config{Path: path}).Client()}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range orders {
				sell(t, clients, OrderID(caller*orders+i+1))
			}
		})
	}
	wg.Wait()
	want := Report{Orders: callers * orders, Committed: callers * orders / 2, Undone: callers * orders / 2}
	want.RepeatedCalls = want.Committed*6 + want.Undone*6
	checkAudit(t, Files(path), callers*orders, want, "")
}

// sell makes an order whole, or undoes it when its number is even, with every
// call made through each client at once.
func sell(t *testing.T, clients []*Client, order string) {
	ctx := t.Context()
	both := func(call func(c *Client) (string, error)) string {
		ids := make([]string, len(clients))
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() {
				var err error
				if ids[i], err = call(c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(slices.Compact(ids)) != 1 {
			t.Errorf("got different answers %q", ids)
		}
		return ids[0]
	}
	auth := both(func(c *Client) (string, error) { return c.Authorize(ctx, order+"/a", 1, order, "tok_visa", 700) })
	res := both(func(c *Client) (string, error) { return c.Reserve(ctx, order+"/r", 1, order, "sku_book", 1) })
	both(func(c *Client) (string, error) { return c.Screen(ctx, order+"/f", 1, order, "tok_visa", 700) })
	if (order[len(order)-1]-'0')%2 == 0 {
		both(func(c *Client) (string, error) { return "", c.Dismiss(ctx, order+"/uf", 1, order+"/f") })
		both(func(c *Client) (string, error) { return "", c.Release(ctx, order+"/ur", 1, order+"/r") })
		both(func(c *Client) (string, error) { return "", c.Void(ctx, order+"/ua", 1, order+"/a") })
		return
	}
	both(func(c *Client) (string, error) { return c.Capture(ctx, order+"/c", 1, order, auth, 700) })
	both(func(c *Client) (string, error) { return c.Ship(ctx, order+"/s", 1, order, res) })
	both(func(c *Client) (string, error) { return c.Receipt(ctx, order+"/l", 1, order, 700) })
}

func TestStartFails(t *testing.T) {
	path := tempPath(t)
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "Path is empty"},
		{Config{Path: path, FaultRate: 1.5}, "FaultRate is 1.5"},
		{Config{Path: path, MinDelay: 2, MaxDelay: 1}, "make no range"},
		{Config{Path: path + "/no/such"}, "start gateway: "},
		{Config{Path: path, Command: []string{"echo", "hello"}}, "unexpected output \"hello"},
		{Config{Path: path, Command: []string{"true"}}, "ended before it was ready"},
	} {
		_, err := Start(t.Context(), test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got error %v, want %q", test.cfg, err, test.want)
		}
	}
	_, err := Start(timeout(t, 100*time.Millisecond), Config{Path: path, Command: []string{"sh", "-c", "exec sleep 60"}})
	if err == nil {
		t.Error("got no error from a participant that is never ready")
	}
}

// BenchmarkOrders measures whole orders of five calls each, from 64 callers,
// with the callers on the same machine.
func BenchmarkOrders(b *testing.B) {
	c := start(b, Config{Path: tempPath(b)}).Client()
	ctx := b.Context()
	orders := make(chan string, 64)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for o := range orders {
				auth, err := c.Authorize(ctx, o+"/a", 1, o, "tok_visa", 700)
				res, err2 := c.Reserve(ctx, o+"/r", 1, o, "sku_book", 1)
				_, err3 := c.Capture(ctx, o+"/c", 1, o, auth, 700)
				_, err4 := c.Ship(ctx, o+"/s", 1, o, res)
				_, err5 := c.Receipt(ctx, o+"/l", 1, o, 700)
				if err := errors.Join(err, err2, err3, err4, err5); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := 1; b.Loop(); n++ {
		orders <- OrderID(n)
	}
	close(orders)
	wg.Wait()
	b.ReportMetric(5*float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
