package templates

import (
	"bytes"
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/store/dynamo"
	"github.com/clewdev/clew/store/mem"
)

// code is what the templates have to fit.
type code struct {
	table     *dynamodb.CreateTableInput
	books     *dynamodb.CreateTableInput // of the participants of payments
	ttl       string                     // attribute
	actions   []string                   // IAM actions on the table
	namespace string
	dimension string
	metrics   []string // that a sweep emits
}

func theCode(t *testing.T) *code {
	t.Helper()
	c := &code{}
	m := &maker{}
	if err := dynamo.CreateTable(t.Context(), m, dynamo.Options{Table: "t"}); err != nil {
		t.Fatal(err)
	}
	c.table, c.ttl = m.made, m.ttl
	b := &maker{}
	if err := participant.CreateTable(t.Context(), b, "b"); err != nil {
		t.Fatal(err)
	}
	c.books = b.made
	for m := range reflect.TypeFor[dynamo.API]().Methods() {
		c.actions = append(c.actions, "dynamodb:"+m.Name) // each call is an action
	}
	c.sweep(t)
	return c
}

// sweep runs one, and notes the metrics.
func (c *code) sweep(t *testing.T) {
	t.Helper()
	var out bytes.Buffer
	host, err := lambdahost.New(lambdahost.Options{
		Open:        func(context.Context) (durable.Store, error) { return mem.New(), nil },
		Definitions: []durable.Registrable{durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 0, nil })},
		Function:    "f", Version: "1", Metrics: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.Invoke(t.Context(), []byte(sweepEvent)); err != nil {
		t.Fatal(err)
	}
	var line struct {
		AWS struct {
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name string }
			}
		} `json:"_aws"`
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || len(line.AWS.CloudWatchMetrics) != 1 {
		t.Fatalf("the sweep's metrics are %q, %v", out.Bytes(), err)
	}
	m := line.AWS.CloudWatchMetrics[0]
	c.namespace, c.dimension = m.Namespace, m.Dimensions[0][0]
	for _, metric := range m.Metrics {
		c.metrics = append(c.metrics, metric.Name)
	}
}

const sweepEvent = `{"clew":"sweep"}`

// maker notes what CreateTable makes.
type maker struct {
	dynamo.TableAPI
	made *dynamodb.CreateTableInput
	ttl  string
}

func (m *maker) CreateTable(_ context.Context, in *dynamodb.CreateTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error) {
	m.made = in
	return &dynamodb.CreateTableOutput{}, nil
}

func (m *maker) DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	table := &types.TableDescription{KeySchema: m.made.KeySchema, TableStatus: types.TableStatusActive, AttributeDefinitions: m.made.AttributeDefinitions}
	for _, i := range m.made.GlobalSecondaryIndexes {
		table.GlobalSecondaryIndexes = append(table.GlobalSecondaryIndexes,
			types.GlobalSecondaryIndexDescription{IndexName: i.IndexName, KeySchema: i.KeySchema, Projection: i.Projection})
	}
	return &dynamodb.DescribeTableOutput{Table: table}, nil
}

func (m *maker) DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error) {
	return &dynamodb.DescribeTimeToLiveOutput{}, nil
}

func (m *maker) UpdateTimeToLive(_ context.Context, in *dynamodb.UpdateTimeToLiveInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error) {
	m.ttl = aws.ToString(in.TimeToLiveSpecification.AttributeName)
	return &dynamodb.UpdateTimeToLiveOutput{}, nil
}

// UpdateItem answers the settings, with as many shards as were asked for.
func (m *maker) UpdateItem(_ context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return &dynamodb.UpdateItemOutput{}, nil
}

var variable = regexp.MustCompile(`^(CLEW|PAYMENTS|ONBOARDING)_[A-Z_]+$`)

// variables are the names of ours in the environment that a program reads, or
// any package of ours that it is made of.
func variables(t *testing.T, program string) (names, packages []string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{if .Module.Main}}{{.ImportPath}} {{.Dir}}{{end}}{{end}}`, program)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" {
			continue
		}
		packages = append(packages, path)
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				literals(t, file, seen)
			}
		}
	}
	return slices.Sorted(maps.Keys(seen)), packages
}

// literals notes the texts in a file that are such names.
func literals(t *testing.T, file string, seen map[string]bool) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil && variable.MatchString(text) {
				seen[text] = true
			}
		}
		return true
	})
}
