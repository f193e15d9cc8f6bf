package clew_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocsShowWhatCompiles: every Go block of a page in docs stands, but for its
// indentation, in an Example, or in a file of testdata that a test compiles.
func TestDocsShowWhatCompiles(t *testing.T) {
	compiled := ""
	for _, pattern := range []string{"*/example*_test.go", "*/*/example*_test.go", "docs/testdata/practices/*.go", "analysis/testdata/*/*.go"} {
		compiled += contents(t, pattern)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("got pages %v, %v", pages, err)
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
			if !strings.Contains(compiled, flat(block[1])) {
				t.Errorf("%s: no Example contains\n%s", page, block[1])
			}
		}
	}
}

func contents(t *testing.T, pattern string) (all string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all += flat(string(b))
	}
	return all
}

// TestLinksLead: every relative link of a page leads to a file, and to a heading
// if it names one.
func TestLinksLead(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		prose := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`").ReplaceAllString(string(b), "")
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(prose, -1) {
			file, heading, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := filepath.Join(filepath.Dir(page), file)
			if file == "" {
				target = page
			}
			if err := leads(target, heading); err != nil {
				t.Errorf("%s: %s: %v", page, link[1], err)
			}
		}
	}
}

func leads(target, heading string) error {
	if _, err := os.Stat(target); err != nil || heading == "" {
		return err
	}
	b, err := os.ReadFile(target)
	if err == nil && !slices.Contains(headings(string(b)), heading) {
		err = fmt.Errorf("it has no heading %q", heading)
	}
	return err
}

// headings are the names by which links lead to a page's headings.
func headings(page string) (names []string) {
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(h[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// TestPractices: what docs/best-practices.md shows compiles, goes right or wrong
// as it says, and clewvet finds the lines that are marked with its rules, and no
// others.
func TestPractices(t *testing.T) {
	const dir = "docs/testdata/practices"
	if out, err := exec.Command("go", "test", "./"+dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var want, got []string
	for _, name := range []string{"do.go", "dont.go"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(b)) {
			n++
			if _, rule, ok := strings.Cut(strings.TrimSpace(line), " // "); ok && slices.Contains([]string{"nondeterminism", "effects-in-defer"}, rule) {
				want = append(want, fmt.Sprintf("%s:%d %s", name, n, rule))
			}
		}
	}
	out, _ := exec.Command("go", "run", "./cmd/clewvet", "-test=false", "./"+dir).CombinedOutput() // exits with 3
	for _, m := range regexp.MustCompile(`(?m)([a-z]+\.go):(\d+):\d+: ([a-z-]+): `).FindAllStringSubmatch(string(out), -1) {
		got = append(got, fmt.Sprintf("%s:%s %s", m[1], m[2], m[3]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("clewvet finds %q, want %q\n%s", got, want, out)
	}
}
