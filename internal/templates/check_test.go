package templates

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// checker collects what is wrong with a template.
type checker struct {
	*template
	code     *code
	problems []string
}

func (c *checker) wrong(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// check says all that is wrong with a template.
func check(t *template, code *code) []string {
	c := &checker{template: t, code: code}
	c.table("Table", code.table)
	if c.Resources["Participants"] != nil {
		c.table("Books", code.books)
	} else if c.Resources["Books"] == nil {
		c.wrong("there are no Books")
	}
	functions := c.of("AWS::Serverless::Function")
	for _, name := range functions {
		f := c.Resources[name]
		c.function(name, f)
		c.grants(name, f)
		if f.text("Environment", "Variables", "CLEW_RECURSIVE_LOOP") != f.text("RecursiveLoop") {
			c.wrong("%s: CLEW_RECURSIVE_LOOP is not its RecursiveLoop", name)
		}
		if events, ok := f.at("Events").(map[string]any); ok {
			c.host(name, f, events)
		}
	}
	c.roles()
	if len(functions) == 0 {
		c.wrong("there are no functions")
	}
	return c.problems
}

// schema is what two tables are compared by.
type schema struct {
	Keys       []string
	Attributes map[string]string
	Indexes    map[string]index
}

type index struct {
	Keys       []string
	Projection string
	Others     []string
}

// table compares a table with that of CreateTable.
func (c *checker) table(name string, made *dynamodb.CreateTableInput) {
	want := schema{Keys: keysOf(made.KeySchema), Attributes: map[string]string{}, Indexes: map[string]index{}}
	for _, a := range made.AttributeDefinitions {
		want.Attributes[*a.AttributeName] = string(a.AttributeType)
	}
	for _, i := range made.GlobalSecondaryIndexes {
		want.Indexes[*i.IndexName] = index{keysOf(i.KeySchema), string(i.Projection.ProjectionType), i.Projection.NonKeyAttributes}
	}
	table := c.Resources[name]
	if table == nil {
		c.wrong("there is no %s", name)
		return
	}
	in, err := decode[struct {
		BillingMode            string
		KeySchema              []types.KeySchemaElement
		AttributeDefinitions   []types.AttributeDefinition
		GlobalSecondaryIndexes []types.GlobalSecondaryIndex
		TimeToLive             struct{ AttributeName, Enabled string } `json:"TimeToLiveSpecification"`
	}](table.Properties)
	if err != nil {
		c.wrong("%s: %v", name, err)
		return
	}
	got := schema{Keys: keysOf(in.KeySchema), Attributes: map[string]string{}, Indexes: map[string]index{}}
	for _, a := range in.AttributeDefinitions {
		got.Attributes[aws.ToString(a.AttributeName)] = string(a.AttributeType)
	}
	for _, i := range in.GlobalSecondaryIndexes {
		got.Indexes[aws.ToString(i.IndexName)] = index{keysOf(i.KeySchema), string(i.Projection.ProjectionType), i.Projection.NonKeyAttributes}
	}
	if !reflect.DeepEqual(got, want) {
		c.wrong("%s is %+v, and CreateTable makes %+v", name, got, want)
	}
	if in.BillingMode != string(made.BillingMode) {
		c.wrong("%s is billed by %s, and CreateTable makes it %s", name, in.BillingMode, made.BillingMode)
	}
	if name != "Table" {
		return
	}
	if in.TimeToLive.AttributeName != c.code.ttl || in.TimeToLive.Enabled != "true" {
		c.wrong("Table: TTL is %+v, want it by %s", in.TimeToLive, c.code.ttl)
	}
	if table.DeletionPolicy != "Retain" {
		c.wrong("Table goes with the stack")
	}
}

func keysOf(schema []types.KeySchemaElement) (keys []string) {
	for _, k := range schema {
		keys = append(keys, aws.ToString(k.AttributeName)+" "+string(k.KeyType))
	}
	return keys
}

// function checks what holds for every function.
func (c *checker) function(name string, f *resource) {
	for property, want := range map[string]string{"Runtime": "provided.al2023", "Handler": "bootstrap", "CodeUri": "bootstrap.zip",
		"AutoPublishAlias": "live", "FunctionName": stack + "-" + strings.ToLower(name)} {
		if got := f.text(property); got != want {
			c.wrong("%s: %s is %q, want %q", name, property, got, want)
		}
	}
	if f.text("AutoPublishCodeSha256") == "" {
		c.wrong("%s: a changed parameter publishes no version, because AutoPublishCodeSha256 is not the Release", name)
	}
	log := f.text("LoggingConfig", "LogGroup")
	for _, group := range c.of("AWS::Logs::LogGroup") {
		if g := c.Resources[group]; g.text("LogGroupName") == log && g.text("RetentionInDays") != "" {
			return
		}
	}
	c.wrong("%s: its log %q is not kept for a time that is said", name, log)
}

// host checks a function that runs sagas.
func (c *checker) host(name string, f *resource, events map[string]any) {
	timeout, _ := strconv.Atoi(f.text("Timeout"))
	sweeps, queues := 0, 0
	for _, ev := range events {
		e, err := decode[struct {
			Type       string
			Properties struct {
				Schedule, Input, Queue, BatchSize string
				FunctionResponseTypes             []string
			}
		}](ev)
		if err != nil {
			c.wrong("%s: events: %v", name, err)
			continue
		}
		p := e.Properties
		switch e.Type {
		case "Schedule":
			sweeps++
			if p.Schedule != "rate(1 minute)" || p.Input != sweepEvent {
				c.wrong("%s: the sweep is %s with %s, want one every minute, which lambdahost expects, with %s", name, p.Schedule, p.Input, sweepEvent)
			}
		case "SQS":
			queues++
			if p.BatchSize != "10" || !slices.Equal(p.FunctionResponseTypes, []string{"ReportBatchItemFailures"}) {
				c.wrong("%s: it takes batches of %s and reports %v, want 10, and failures by item", name, p.BatchSize, p.FunctionResponseTypes)
			}
			c.queue(name, p.Queue, f.text("Environment", "Variables", "CLEW_QUEUE_URL"), timeout)
		}
	}
	if sweeps != 1 || queues != 1 {
		c.wrong("%s: it has %d sweeps and %d queues, want one of each", name, sweeps, queues)
	}
	c.alarms(name, f)
}

// queue checks the queue from which a function gets wake-ups.
func (c *checker) queue(function, arn, url string, timeout int) {
	for _, name := range c.of("AWS::SQS::Queue") {
		if !strings.HasSuffix(arn, ":"+name) {
			continue
		}
		q := c.Resources[name]
		if v, _ := strconv.Atoi(q.text("VisibilityTimeout")); v < 6*timeout {
			c.wrong("%s: a message comes back after %d s, want at least six times the %d s of %s", name, v, timeout, function)
		}
		if !strings.HasSuffix(url, "/"+name) {
			c.wrong("%s: it sends to %s and reads from %s", function, url, name)
		}
		dead := q.text("RedrivePolicy", "deadLetterTargetArn")
		if dead == "" || dead != c.Resources[function].text("DeadLetterQueue", "TargetArn") {
			c.wrong("%s: what fails for good goes to %q, and events of %s to %q: want one queue for both", name, dead, function, c.Resources[function].text("DeadLetterQueue", "TargetArn"))
		}
		if n, _ := strconv.Atoi(q.text("RedrivePolicy", "maxReceiveCount")); n < 5 {
			c.wrong("%s: messages are given up after %d attempts, want 5 or more", name, n)
		}
		for _, q := range []string{name, dead[strings.LastIndex(dead, ":")+1:]} {
			if r := c.Resources[q]; r == nil || r.text("SqsManagedSseEnabled") != "true" {
				c.wrong("%s is not encrypted", q)
			}
		}
		return
	}
	c.wrong("%s: there is no queue %s", function, arn)
}

// alarms wants one for each thing that a person has to know.
func (c *checker) alarms(function string, f *resource) {
	missing := map[string]string{"Parked": c.code.namespace, "Lateness": c.code.namespace, "ApproximateNumberOfMessagesVisible": "AWS/SQS"}
	for _, name := range c.of("AWS::CloudWatch::Alarm") {
		a, err := decode[struct {
			Namespace, MetricName, Threshold, TreatMissingData string
			Dimensions                                         []struct{ Name, Value string }
		}](c.Resources[name].Properties)
		if err != nil || len(a.Dimensions) != 1 {
			c.wrong("%s: its dimensions are %v (%v), want one", name, a.Dimensions, err)
			continue
		}
		if missing[a.MetricName] == a.Namespace {
			delete(missing, a.MetricName)
		}
		d := a.Dimensions[0]
		switch {
		case a.Namespace == "AWS/SQS":
			if dead := f.text("DeadLetterQueue", "TargetArn"); d.Name != "QueueName" || !strings.HasSuffix(dead, ":"+d.Value) || a.Threshold != "0" {
				c.wrong("%s is for %v > %s, want the dead letters in %s > 0", name, d, a.Threshold, dead)
			}
			continue
		case a.Namespace != c.code.namespace || !slices.Contains(c.code.metrics, a.MetricName):
			c.wrong("%s: nobody emits %s in %s; the sweep emits %v in %s", name, a.MetricName, a.Namespace, c.code.metrics, c.code.namespace)
		case d.Name != c.code.dimension || d.Value != f.text("FunctionName"):
			c.wrong("%s: its dimension is %v, and metrics have %s %s", name, d, c.code.dimension, f.text("FunctionName"))
		case a.MetricName == "Parked" && a.Threshold != "0":
			c.wrong("%s: it bears %s parked sagas, want none", name, a.Threshold)
		case a.MetricName == "Lateness" && a.TreatMissingData != "breaching":
			c.wrong("%s: a sweep that does not run is no alarm", name)
		}
	}
	for metric := range missing {
		c.wrong("%s: there is no alarm for %s", function, metric)
	}
}
