package clew_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/clewdev/clew/"

// allowed is who may import whom: policy, not to be edited to make a build
// pass. Keys and values are packages below the module; "all" is every one.
// Test files may also import the packages that exist for tests.
var allowed = map[string][]string{
	"durable":                       {},
	"compensate":                    {},
	"saga":                          {"durable", "compensate"},
	"saga/sagatest":                 {"saga", "durable", "durable/durabletest", "store/mem"},
	"store/mem":                     {"durable"},
	"store/sqlite":                  {"durable"},
	"store/dynamo":                  {"durable"},
	"store/storetest":               {"durable"},
	"durable/durabletest":           {"durable", "store/mem"},
	"lambdahost":                    {"durable", "internal/lambdahttp"},
	"lambdahost/awsenv":             {"durable", "lambdahost", "store/dynamo"},
	"internal/lambdahttp":           {},
	"telemetry":                     {"durable", "saga"},
	"internal/storeurl":             {"durable", "store/sqlite", "store/dynamo"},
	"internal/localserver":          {},
	"internal/dynamolocal":          {"internal/localserver"},
	"internal/sqslocal":             {"internal/localserver"},
	"internal/lambdalocal":          {}, // knows nothing of clew
	"internal/awslocal":             {"store/dynamo", "internal/dynamolocal", "internal/lambdalocal", "internal/sqslocal"},
	"internal/faultproxy":           {},
	"internal/faultsuite":           {"all"},
	"internal/mutant":               {},
	"internal/otelenv":              {"durable", "telemetry"},
	"internal/bench":                {"all"},
	"internal/bill":                 {"durable"},
	"internal/conformance":          {"durable", "store/mem"},
	"internal/templates":            {}, // tests only
	"cmd/clew":                      {"all"},
	"analysis":                      {}, // knows the others by their names only
	"cmd/clewvet":                   {"analysis"},
	"examples/onboarding":           {"all"},
	"examples/payments":             {"all"},
	"examples/payments/participant": {"examples/internal/booktable"},
	"examples/internal/booktable":   {},
}

// light are the packages that everybody's build carries, with all that they
// may import besides ours and the standard library.
var light = map[string][]string{
	"durable":             {"github.com/cenkalti/backoff/v4"},
	"compensate":          {},
	"saga":                {},
	"saga/sagatest":       {},
	"store/mem":           {},
	"store/storetest":     {},
	"durable/durabletest": {},
}

type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue // the module's root holds tests only
		}
		seen[name] = true
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the table: say what it may import", name)
		}
		for _, imported := range p.Imports {
			check(t, name, imported, may)
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("the table has %s, which does not exist", name)
		}
	}
}

func check(t *testing.T, name, imported string, may []string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(imported, module); ok {
		if !slices.Contains(may, ours) && !slices.Contains(may, "all") {
			t.Errorf("%s imports %s, which the table does not allow", name, ours)
		}
		return
	}
	outside := strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
	if may, ok := light[name]; ok && outside && !slices.Contains(may, imported) {
		t.Errorf("%s imports %s: it stays on the standard library%v", name, imported, may)
	}
}
