package lambdalocal

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

const traceHeader = "X-Amzn-Trace-Id"

// hopLimit is how often a function that does not allow loops is invoked in one
// chain of requests.
const hopLimit = 16

// trace is the content of an X-Ray trace header. Lambda counts in its lineage
// how often the chain of requests has come to each function before.
type trace struct {
	root    string
	parent  string         // of the invocation that sent it
	lineage map[string]int // function's hash → earlier invocations
}

// parseTrace reads a header; what it does not understand begins a new chain.
// The SDK sends what is no plain character percent-encoded.
func parseTrace(header string) trace {
	t := trace{lineage: map[string]int{}}
	if plain, err := url.PathUnescape(header); err == nil {
		header = plain
	}
	for part := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Root":
			t.root = value
		case "Parent":
			t.parent = value
		case "Lineage":
			for hop := range strings.SplitSeq(value, "|") {
				hash, count, _ := strings.Cut(hop, ":")
				if n, err := strconv.Atoi(count); err == nil && n >= 0 {
					t.lineage[hash] = n
				}
			}
		}
	}
	return t
}

// merge adds another chain, so that both are counted from here on.
func (t *trace) merge(other trace) {
	if t.root == "" {
		t.root = other.root
	}
	if t.lineage == nil {
		t.lineage = map[string]int{}
	}
	for hash, n := range other.lineage {
		t.lineage[hash] = max(n, t.lineage[hash])
	}
}

// hops is how often the chain has come to a function.
func (t trace) hops(hash string) int {
	if n, ok := t.lineage[hash]; ok {
		return n + 1
	}
	return 0
}

// into is the trace of an invocation of a function by this chain.
func (t trace) into(hash string) trace {
	next := trace{root: t.root, lineage: maps.Clone(t.lineage)}
	if next.lineage == nil {
		next.lineage = map[string]int{}
	}
	if next.root == "" {
		id := strings.ReplaceAll(uuid.NewString(), "-", "")
		next.root = fmt.Sprintf("1-%s-%s", id[:8], id[8:])
	}
	next.lineage[hash] = t.hops(hash)
	return next
}

// String is the header, with a new parent.
func (t trace) String() string {
	hops := make([]string, 0, len(t.lineage))
	for _, hash := range slices.Sorted(maps.Keys(t.lineage)) {
		hops = append(hops, fmt.Sprintf("%s:%d", hash, t.lineage[hash]))
	}
	parent := strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	return fmt.Sprintf("Root=%s;Parent=%s;Sampled=0;Lineage=%s", t.root, parent, strings.Join(hops, "|"))
}

// lineageHash stands for a function in a lineage.
func lineageHash(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return fmt.Sprintf("%08x", h.Sum32())
}
