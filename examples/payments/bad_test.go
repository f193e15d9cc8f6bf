package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// TestBadInput: whatever is wrong, the program names it and the remedy, ends
// with 1 and leaves the file as it was.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	execute(t, foreign, "CREATE TABLE theirs (a)")
	newer := filepath.Join(dir, "newer.db")
	start(t, dir, "-orders", "3", "-db", newer).finish(t)
	execute(t, newer, "PRAGMA user_version = 99")
	seeded := filepath.Join(dir, "seeded.db")
	start(t, dir, "-orders", "3", "-db", seeded).finish(t)

	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"garbage", []string{"-db", garbage}, []string{garbage, "not a database", "another path"}},
		{"foreign", []string{"-db", foreign}, []string{foreign, "another program", "path of its own"}},
		{"newer", []string{"-db", newer}, []string{newer, "newer clew", "schema 99"}},
		{"no directory", []string{"-db", filepath.Join(dir, "no", "x.db")}, []string{"does not exist", "create it"}},
		{"a directory", []string{"-db", dir}, []string{"not a file"}},
		{"another seed", []string{"-db", seeded, "-orders", "3", "-seed", "2"}, []string{"started with input", "same ones, or another -db"}},
		{"no orders", []string{"-orders", "0"}, []string{"-orders 0"}},
		{"bad rate", []string{"-decline", "1.5"}, []string{"between 0 and 1"}},
		{"bad rate", []string{"-outage", "NaN"}, []string{"between 0 and 1"}},
		{"bad rate", []string{"-stuck", "-1"}, []string{"-stuck -1", "between 0 and 1"}},
		{"another share", []string{"-db", seeded, "-orders", "3", "-fraud", "1"}, []string{"-fraud", "same ones, or another -db"}},
		{"unknown version", []string{"-version", "3"}, []string{`-version "3"`, "1, 2"}},
		{"stray argument", []string{"quickly"}, []string{`"quickly"`}},
		{"unknown flag", []string{"-quickly"}, []string{"not defined: -quickly"}},
	} {
		p := start(t, dir, c.args...)
		if err := p.Wait(); err == nil || p.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: exit code %d, want 1", c.name, p.ProcessState.ExitCode())
		}
		for _, want := range c.want {
			if !strings.Contains(p.err.String(), want) {
				t.Errorf("%s: got %s, want it to say %q", c.name, p.err.String(), want)
			}
		}
		if strings.Contains(p.err.String(), "goroutine ") {
			t.Errorf("%s: it panicked: %s", c.name, p.err.String())
		}
	}
	if b, err := os.ReadFile(garbage); err != nil || !strings.HasPrefix(string(b), "not a database") {
		t.Errorf("the garbage was changed: %v", err)
	}
	execute(t, foreign, "INSERT INTO theirs VALUES (1)") // still theirs
}

func execute(t *testing.T, path, query string) {
	t.Helper()
	conn, err := sqlite.OpenConn(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sqlitex.ExecuteTransient(conn, query, nil); err != nil {
		t.Fatal(err)
	}
}
