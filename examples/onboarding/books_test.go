package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/internal/booktable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/faultproxy"
	"github.com/clewdev/clew/saga/sagatest"
	"github.com/clewdev/clew/store/dynamo"
	"github.com/clewdev/clew/store/mem"
)

func booksAt(t *testing.T, path string) books {
	t.Helper()
	b, err := openFileBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// booksIn makes a table for books, and returns books in it with a client each.
func booksIn(t *testing.T, n int) (all []books, name string) {
	t.Helper()
	client, name := dynamolocal.Client(t), dynamolocal.Table(t)
	if err := booktable.Create(t.Context(), client, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name})
	})
	for range n {
		all = append(all, &tableBooks{dynamolocal.Client(t), name})
	}
	return all, name
}

// onBoth runs a test on books in a file and in a table, each opened twice.
func onBoth(t *testing.T, test func(t *testing.T, a, b books)) {
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "outside.db")
		test(t, booksAt(t, path), booksAt(t, path))
	})
	t.Run("table", func(t *testing.T) {
		both, _ := booksIn(t, 2)
		test(t, both[0], both[1])
	})
}

// TestBooks: a key is one effect, in all processes; what was undone stays so.
func TestBooks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, a, b books) {
		t.Run("a key is one effect", func(t *testing.T) { oneEffect(t, a, b) })
		t.Run("undone for good", func(t *testing.T) { undoneForGood(t, a, b) })
		t.Run("a refusal", func(t *testing.T) { refused(t, a, b) })
		t.Run("at once", func(t *testing.T) { atOnce(t, a, b) })
	})
}

var newAccount = Effect{Hire: "ada", Kind: kindAccount, Text: "ada"}

// entriesOf returns the whole of the books.
func entriesOf(t *testing.T, b books) []entry {
	t.Helper()
	all, err := b.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func oneEffect(t *testing.T, a, b books) {
	ctx := t.Context()
	var ids sync.Map
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			id, err := []books{a, b}[i%2].Do(ctx, "k", newAccount)
			if err != nil {
				t.Error(err)
			}
			ids.Store(id, true)
		})
	}
	wg.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if all := entriesOf(t, b); len(all) != 1 || all[0].Effect != newAccount || all[0].State != stands || all[0].Key != "k" || n != 1 {
		t.Errorf("one key is %d IDs and %+v", n, all)
	}
	if _, err := a.Do(ctx, "k", Effect{Hire: "bob", Kind: kindAccount}); err == nil || errors.Is(err, errRefused) {
		t.Errorf("a key for another hire: got %v, want an error that proves nothing", err)
	}
	id, done, err := a.Settle(ctx, "k")
	if _, same := ids.Load(id); !done || !same || err != nil {
		t.Errorf("it was done: got %q, %v, %v", id, done, err)
	}
}

func undoneForGood(t *testing.T, a, b books) {
	ctx := t.Context()
	for range 2 {
		if err := a.Undo(ctx, "k"); err != nil {
			t.Error(err)
		}
		if _, err := b.Do(ctx, "k", newAccount); !errors.Is(err, errRefused) {
			t.Errorf("after its undo: got %v, want a refusal", err)
		}
		if _, done, err := b.Settle(ctx, "k"); done || err != nil {
			t.Errorf("it was undone: got %v, %v", done, err)
		}
	}
	for range 2 {
		if err := a.Undo(ctx, "late"); err != nil {
			t.Error(err)
		}
		if id, done, err := a.Settle(ctx, "later"); done || id != "" || err != nil {
			t.Errorf("nothing was done: got %q, %v, %v", id, done, err)
		}
	}
	for _, key := range []string{"late", "later"} {
		if _, err := b.Do(ctx, key, newAccount); !errors.Is(err, errRefused) {
			t.Errorf("%s: got %v, want a refusal", key, err)
		}
	}
	if all := entriesOf(t, a); len(all) != 1 || all[0].State != undone {
		t.Errorf("got %+v, want the account, undone", all)
	}
}

func refused(t *testing.T, a, b books) {
	ctx := t.Context()
	old := Effect{Hire: "ada", Kind: kindLaptop, Text: discontinued}
	if _, err := b.Do(ctx, "laptop", old); !errors.Is(err, errRefused) {
		t.Errorf("a discontinued laptop: got %v, want a refusal", err)
	}
	if _, err := b.Do(ctx, "other", newAccount); err != nil {
		t.Error(err)
	}
	if _, err := b.Do(ctx, "other", old); err == nil || errors.Is(err, errRefused) {
		t.Errorf("under a key that stands for something else: got %v, want an error that proves nothing", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := a.Do(stopped, "new", newAccount); err == nil {
		t.Error("it works for somebody who has gone")
	}
	if _, err := a.Do(ctx, "new", newAccount); err != nil {
		t.Errorf("after somebody has gone: %v", err)
	}
	for i, url := range []string{"", "https://a.example", "https://b.example", "https://b.example"} {
		if i > 0 {
			if err := a.setPage(ctx, url); err != nil {
				t.Error(err)
			}
		}
		if got, err := b.page(ctx); got != url || err != nil {
			t.Errorf("the page is %q, %v, want %q", got, err, url)
		}
	}
	for i, e := range entriesOf(t, b) { // the page is none of them
		if want := []string{"k", "other", "new"}[i]; e.Key != want {
			t.Errorf("entry %d is of %q, want %q: they come in order", i, e.Key, want)
		}
	}
}

// atOnce has a key done and undone at once: nothing of it stands, whoever was
// first.
func atOnce(t *testing.T, a, b books) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 30 {
		key := fmt.Sprint("race ", i)
		for _, who := range []books{a, b} {
			wg.Go(func() {
				if _, err := who.Do(ctx, key, newAccount); err != nil && !errors.Is(err, errRefused) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := who.Undo(ctx, key); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, e := range entriesOf(t, b) {
		if strings.HasPrefix(e.Key, "race") && e.State != undone {
			t.Errorf("%s is undone, and %s", e.Key, e.State)
		}
	}
}

// TestUndosOfBooks: the books themselves keep what the saga's undos rely on.
func TestUndosOfBooks(t *testing.T) {
	b := booksAt(t, filepath.Join(t.TempDir(), "outside.db"))
	s, err := onboard(deps{outside: b, day: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	sagatest.CheckUndos(t, s, ada, sagatest.Outside{Standing: func() map[string]int {
		all, err := b.all(context.Background())
		if err != nil {
			t.Error(err)
		}
		n := map[string]int{}
		for _, e := range all {
			if e.State == stands {
				n[e.Kind]++
			}
		}
		return n
	}}, yes...)
}

func TestBooksOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outside.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openFileBooks(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move that file away") {
		t.Errorf("got %v, want an error that names the file and what to do", err)
	}
}

// TestTableOfOthers: what is wrong with a table is said, with its name and a remedy.
func TestTableOfOthers(t *testing.T) {
	t.Parallel()
	client, name, ctx := dynamolocal.Client(t), dynamolocal.Table(t), t.Context()
	b := &tableBooks{client, name}
	_, err := b.Do(ctx, "k", newAccount)
	_, _, err2 := b.Settle(ctx, "k")
	_, err3 := b.all(ctx)
	_, err4 := b.page(ctx)
	for _, err := range []error{err, err2, err3, err4, b.Undo(ctx, "k"), b.setPage(ctx, "https://a.example")} {
		if err == nil || !strings.Contains(err.Error(), "no table "+name) || !strings.Contains(err.Error(), "begin with") {
			t.Errorf("without a table: got %v", err)
		}
	}
	if err := dynamo.CreateTable(ctx, client, dynamo.Options{Table: name}); err != nil { // keys alike, and things of others in it
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name})
	})
	if _, err := b.all(ctx); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "name another table") {
		t.Errorf("the table of the sagas: got %v", err)
	}
	if err := booktable.Create(ctx, client, name); err != nil {
		t.Errorf("a table that is there, and fits: %v", err)
	}
}

// TestTableInTrouble: two who do everything twice, over a network that loses,
// repeats, delays and refuses requests: each effect is there once, and none that
// was undone.
func TestTableInTrouble(t *testing.T) {
	t.Parallel()
	clean, name := booksIn(t, 1)
	proxy, err := faultproxy.Start(dynamolocal.Endpoint(t), faultproxy.Plan{Late: [2]time.Duration{time.Millisecond, 300 * time.Millisecond},
		Rates: map[faultproxy.Fault]float64{faultproxy.LostAnswer: 0.06, faultproxy.Unsent: 0.04, faultproxy.Repeated: 0.06,
			faultproxy.Stalled: 0.04, faultproxy.Throttled: 0.03, faultproxy.Failed: 0.04, faultproxy.Reset: 0.03}})
	if err != nil {
		t.Fatal(err)
	}
	b := &tableBooks{dynamolocal.Client(t, func(o *dynamodb.Options) {
		o.BaseEndpoint = aws.String(proxy.URL())
		o.HTTPClient = awshttp.NewBuildableClient().WithTimeout(200 * time.Millisecond)
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 2, 20*time.Millisecond })
	}), name}
	again := func(call func() error) error { // as a saga does, for as long as nothing is proven
		for {
			if err := call(); err == nil || errors.Is(err, errRefused) || t.Context().Err() != nil {
				return err
			}
		}
	}
	must := func(key string, call func() error) {
		if err := again(call); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	const keys, callers = 60, 4 // for each half of the work
	visit := func(n int) {
		key := fmt.Sprint(n)
		err := again(func() error { _, err := b.Do(t.Context(), key, newAccount); return err })
		switch n % 3 {
		case 0: // and it stays
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
		case 1:
			must(key, func() error { return b.Undo(t.Context(), key) })
		default: // it is undone by whom it is told that it stands
			done := false
			must(key, func() (err error) { _, done, err = b.Settle(t.Context(), key); return err })
			if done {
				must(key, func() error { return b.Undo(t.Context(), key) })
			}
		}
	}
	var wg sync.WaitGroup
	for first := range 2 * callers {
		wg.Go(func() {
			for n := first % callers; n < keys; n += callers {
				visit(n)
			}
		})
	}
	wg.Wait()
	if err := proxy.Close(); err != nil { // when all that was late has arrived
		t.Error(err)
	}
	t.Logf("faults %v", proxy.Counts())
	all := entriesOf(t, clean[0])
	if len(all) != keys {
		t.Errorf("%d entries, want %d", len(all), keys)
	}
	for _, e := range all {
		var n int
		if _, err := fmt.Sscan(e.Key, &n); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{true: stands, false: undone}[n%3 == 0]; e.State != want {
			t.Errorf("key %s: %s, want %s", e.Key, e.State, want)
		}
	}
}

// jammed is an outside world that takes nothing back.
type jammed struct{ outside }

func (jammed) Undo(context.Context, string) error { return durable.Permanent(errors.New("jammed")) }

// TestAudit: each hire is done, undone, under way, parked or broken, and only the
// books say so.
func TestAudit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b, _ books) { auditBooks(t, b) })
}

func auditBooks(t *testing.T, b books) {
	store, ctx := mem.New(), t.Context()
	working, err := newDesk(store, deps{outside: b, day: time.Hour}, b, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(d *desk, f func()) {
		ctx, stop := context.WithCancel(ctx)
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			_ = d.engine.Run(ctx) // fails only when run twice
		}()
		f()
		stop()
		<-ran
	}
	hire := func(d *desk, name, laptop string) string {
		h, err := d.hire(ctx, Hire{Name: name, Manager: "grace@example.com", Laptop: laptop})
		if err != nil {
			t.Fatal(err)
		}
		return h.ID
	}
	say := func(d *desk, id, step, answer string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			h, rec, err := load(ctx, d.engine, id)
			if err != nil {
				t.Fatal(err)
			}
			if q, ok := open(rec, step); ok {
				if err := deliver(ctx, d.engine, h, q, reply{Answer: answer}); err != nil {
					t.Error(err)
				}
				return
			}
		}
		t.Fatalf("%s is never asked for the %s", id, step)
	}
	ended := func(d *desk, id string) {
		_, _ = d.saga.Attach(d.engine, id).Wait(ctx) // the audit says how
	}
	run(working, func() {
		for _, name := range []string{"Done", "Undone", "Forgotten", "Waiting", "Stolen", "Twice"} {
			hire(working, name, laptops[0])
		}
		for _, id := range []string{"done", "stolen", "twice"} {
			say(working, id, stepCheck, "pass")
			say(working, id, stepApproval, "approve")
			ended(working, id)
		}
		say(working, "undone", stepCheck, "fail")
		ended(working, "undone")
		say(working, "forgotten", stepCheck, "pass")
		if err := working.engine.Terminate(ctx, "forgotten", "ada", "a test"); err != nil {
			t.Error(err)
		}
		ended(working, "forgotten")
		say(working, "waiting", stepCheck, "working")
	})
	stuck, err := newDesk(store, deps{outside: jammed{b}, day: time.Hour}, b, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(stuck, func() {
		hire(stuck, "Parked", laptops[0])
		say(stuck, "parked", stepCheck, "fail")
		ended(stuck, "parked")
	})
	// Somebody carries a laptop away, and orders one for nobody, and one too many.
	for _, e := range entriesOf(t, b) {
		if e.Hire == "stolen" && e.Kind == kindLaptop {
			if err := b.Undo(ctx, e.Key); err != nil {
				t.Error(err)
			}
		}
	}
	for _, id := range []string{"nobody", "twice"} {
		if _, err := b.Do(ctx, id+" again", Effect{Hire: id, Kind: kindLaptop, Text: laptops[0]}); err != nil {
			t.Fatal(err)
		}
	}
	findings, err := audit(ctx, working)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range findings {
		got[f.ID] = f.Class
	}
	want := map[string]string{"done": allDone, "undone": allUndone, "waiting": underWay, "parked": isParked, "forgotten": abandoned, "stolen": broken, "twice": broken, "nobody": broken}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var out strings.Builder
	if err := report(&out, findings); !errors.Is(err, errAudit) {
		t.Errorf("got %v, want that not all is well", err)
	}
	for _, says := range []string{"1 all done, 1 all undone, 1 under way, 1 parked, 1 abandoned, 3 BROKEN", "clew show parked", "0 × laptop order", "2 × laptop order", "whom no saga knows"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("it does not say %q:\n%s", says, out.String())
		}
	}
	if err := report(&out, findings[:0]); err != nil {
		t.Errorf("of nobody: %v", err)
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{"Ada Lovelace": "ada-lovelace", "  Zoë  O'Neil ": "zoë-o-neil", "../etc/passwd": "etc-passwd", "李 小龍": "李-小龍", "--": "", "a\x00b#c/d": "a-b-c-d"} {
		if got := slug(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
