package participant

import (
	"cmp"
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/internal/dynamolocal"
)

// world is a set of participants without faults on one kind of books.
type world struct {
	*Client
	books Books
	// mend replaces the participants by ones whose warehouse is mended.
	mend func(*testing.T)
}

// onBoth runs a test on both kinds of books.
func onBoth(t *testing.T, test func(*testing.T, *world)) {
	t.Run("files", func(t *testing.T) { test(t, newFileWorld(t)) })
	t.Run("table", func(t *testing.T) { test(t, newTableWorld(t)) })
}

func newFileWorld(t *testing.T) *world {
	path := tempPath(t)
	running := start(t, Config{Path: path})
	w := &world{Client: running.Client(), books: Files(path)}
	w.mend = func(t *testing.T) {
		closeWorld(t, running)
		w.Client = start(t, Config{Path: path, Mended: true}).Client()
	}
	return w
}

func newTableWorld(t *testing.T) *world {
	client, name := newTable(t)
	w := &world{Client: serveTable(t, TableConfig{Client: client, Name: name}), books: Table(client, name)}
	w.mend = func(t *testing.T) {
		w.Client = serveTable(t, TableConfig{Client: client, Name: name, Mended: true})
	}
	return w
}

// newTable makes a table for one test.
func newTable(t *testing.T) (*dynamodb.Client, string) {
	t.Helper()
	client, name := dynamolocal.Client(t), dynamolocal.Table(t)
	if err := CreateTable(t.Context(), client, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name})
	})
	return client, name
}

// serveTable serves a handler over HTTP and returns its client.
func serveTable(t *testing.T, cfg TableConfig) *Client {
	t.Helper()
	h, err := NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return newClient(t, At(server.URL), nil)
}

// rowLog keeps what books tell, by role and key, or order.
type rowLog struct {
	effects  map[[2]string][]effect // by role and order
	postings map[string][]posting   // by order
	calls    map[[2]string][]callRow
}

func rowsOf(t *testing.T, books Books) *rowLog {
	t.Helper()
	l := &rowLog{map[[2]string][]effect{}, map[string][]posting{}, map[[2]string][]callRow{}}
	if err := books.read(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	for _, effects := range l.effects {
		slices.SortStableFunc(effects, func(a, b effect) int { return a.at.Compare(b.at) })
	}
	for _, calls := range l.calls {
		slices.SortFunc(calls, func(a, b callRow) int { return cmp.Compare(a.n, b.n) })
	}
	return l
}

func (l *rowLog) effect(role Role, e effect) error {
	at := [2]string{string(role), e.order}
	l.effects[at] = append(l.effects[at], e)
	return nil
}

func (l *rowLog) posting(p posting) { l.postings[p.order] = append(l.postings[p.order], p) }

func (l *rowLog) call(role Role, c callRow) {
	at := [2]string{string(role), c.key}
	l.calls[at] = append(l.calls[at], c)
}

// wantEffects compares the effects of an order, in the order in which they
// came, with lines such as "capture ve-1 applied 100".
func (w *world) wantEffects(t *testing.T, role Role, order string, want ...string) {
	t.Helper()
	var got []string
	for _, e := range rowsOf(t, w.books).effects[[2]string{string(role), order}] {
		got = append(got, fmt.Sprint(e.kind, " ", e.key, " ", e.act, " ", e.amount))
		if id := effectID(services[e.kind].prefix, e.key); e.id != id {
			t.Errorf("the effect of %s has the ID %q, want %q", e.key, e.id, id)
		}
	}
	wantLines(t, fmt.Sprintf("effects of %s at the %s", order, role), got, want)
}

// wantCalls compares the calls with a key with lines such as
// "authorize 2 repeated", where 2 is what the caller called the attempt.
func (w *world) wantCalls(t *testing.T, role Role, key string, want ...string) {
	t.Helper()
	var got []string
	for i, c := range rowsOf(t, w.books).calls[[2]string{string(role), key}] {
		if c.n != int64(i+1) {
			t.Errorf("call %d with the key %s has the number %d", i+1, key, c.n)
		}
		got = append(got, strings.TrimSpace(fmt.Sprint(c.kind, " ", c.attempt, " ", c.outcome, " ", c.fault)))
	}
	wantLines(t, fmt.Sprintf("calls with the key %s at the %s", key, role), got, want)
}

func wantLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
