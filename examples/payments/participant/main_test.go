package participant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

// TestMain makes the test binary a participant or a parent of participants when
// its first argument says so.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case Arg:
			os.Exit(Main(os.Args[2:]))
		case "parent":
			os.Exit(parent(os.Args[2]))
		}
	}
	// A process under the race detector sleeps for a second when it ends.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// parent starts participants, tells their URLs and never ends.
func parent(config string) int {
	var cfg Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	world, err := Start(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	json.NewEncoder(os.Stdout).Encode(world.URLs())
	select {}
}

func tempPath(t testing.TB) string { return filepath.Join(t.TempDir(), "payments.db") }

func start(t testing.TB, cfg Config) *Running {
	t.Helper()
	world, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { world.Close() })
	return world
}

func newClient(t testing.TB, urls map[Role]string, transport http.RoundTripper) *Client {
	t.Helper()
	c, err := NewClient(urls, transport)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closeWorld(t testing.TB, world *Running) {
	t.Helper()
	if err := world.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// rows returns the result of a query on a participant's file, a line each.
func rows(t testing.TB, path string, role Role, query string) []string {
	t.Helper()
	conn, err := openForReading(Path(path, role))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var lines []string
	err = each(conn, query, func(s *sqlite.Stmt) error {
		var columns []string
		for i := range s.ColumnCount() {
			columns = append(columns, s.ColumnText(i))
		}
		lines = append(lines, strings.Join(columns, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// wantRows compares the result of a query with the lines wanted.
func wantRows(t testing.TB, path string, role Role, query string, want ...string) {
	t.Helper()
	got := rows(t, path, role, query)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func wantRejected(t testing.TB, err error, code string) {
	t.Helper()
	if r, ok := errors.AsType[*Rejected](err); !ok || r.Code != code {
		t.Errorf("got error %v, want a rejection with code %s", err, code)
	}
}

// wantPlain checks for an error that is no rejection and says text.
func wantPlain(t testing.TB, err error, text string) {
	t.Helper()
	if _, ok := errors.AsType[*Rejected](err); ok || err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want a plain one with %q", err, text)
	}
}

func wantNil(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

// keyMeeting finds a key whose calls meet these faults, "" for none.
func keyMeeting(f faults, name string, want ...string) string {
	for i := 0; ; i++ {
		key, good := fmt.Sprintf("%s-%d", name, i), true
		for n, fault := range want {
			got, _ := f.draw(key, int64(n+1))
			good = good && got == fault
		}
		if good {
			return key
		}
	}
}

// abandon makes a call that will be delayed and goes away once it is held.
func abandon(t *testing.T, path string, role Role, call func(context.Context) error) {
	t.Helper()
	const held = `SELECT key FROM calls WHERE outcome = 'held'`
	before := len(rows(t, path, role, held))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	for len(rows(t, path, role, held)) == before && len(ended) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v from an abandoned call, want it to be canceled", err)
	}
}

func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
