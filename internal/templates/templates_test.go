package templates

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var examples = []string{"payments", "onboarding"}

// TestTemplates: the templates fit the code, also when another table takes the
// place of their own.
func TestTemplates(t *testing.T) {
	code := theCode(t)
	for _, example := range examples {
		text := readTemplate(t, example)
		for _, set := range []map[string]string{nil, {"RestoredTable": "restored"}, {"Release": "1", "AlarmEmail": "a@example.com", "State": "DISABLED", "OtlpEndpoint": "https://example.com"}} {
			tmpl, err := evaluate(text, set)
			if err != nil {
				t.Fatalf("%s with %v: %v", example, set, err)
			}
			problems := check(tmpl, code)
			if set["Release"] == "" { // by hand, without make
				problems = slices.DeleteFunc(problems, func(p string) bool { return strings.Contains(p, "is not the Release") })
			}
			for _, problem := range problems {
				t.Errorf("%s with %v: %s", example, set, problem)
			}
		}
	}
}

// reads are the names that a function's code cannot do without.
var reads = map[string]map[string][]string{
	"payments": {
		"Sagas":        {"CLEW_TABLE", "CLEW_QUEUE_URL", "CLEW_RECURSIVE_LOOP", "PAYMENTS_ROLE", "PAYMENTS_PARTICIPANTS_URL"},
		"Participants": {"PAYMENTS_ROLE", "PAYMENTS_BOOKS_TABLE"},
	},
	"onboarding": {
		"Sagas": {"CLEW_TABLE", "CLEW_QUEUE_URL", "CLEW_RECURSIVE_LOOP", "ONBOARDING_ROLE", "ONBOARDING_URL", "ONBOARDING_BOOKS_TABLE"},
		"Pages": {"CLEW_TABLE", "CLEW_QUEUE_URL", "ONBOARDING_ROLE"},
	},
}

// TestEnvironment: functions get the names that their code needs, and none that
// it does not read.
func TestEnvironment(t *testing.T) {
	const host = "github.com/clewdev/clew/lambdahost/awsenv"
	hosts, _ := variables(t, host)
	for _, example := range examples {
		tmpl, err := evaluate(readTemplate(t, example), nil)
		if err != nil {
			t.Fatal(err)
		}
		known, deps := programVariables(t, example)
		whole := slices.Contains(deps, host) // else it is no function yet
		for name, needs := range reads[example] {
			env, _ := tmpl.Resources[name].at("Environment", "Variables").(map[string]any)
			for _, problem := range misread(env, needs, hosts, known, whole) {
				t.Errorf("%s, %s: %s", example, name, problem)
			}
		}
	}
}

// misread compares an environment with what is needed, with what lambdahost
// reads, and, of a whole program, with all that it reads.
func misread(env map[string]any, needs, hosts, known []string, whole bool) (problems []string) {
	for _, v := range needs {
		if env[v] == nil {
			problems = append(problems, v+" is not set")
		}
	}
	for v := range env {
		switch {
		case strings.HasPrefix(v, "OTEL_"): // OpenTelemetry's SDK does
		case strings.HasPrefix(v, "CLEW_") && !slices.Contains(hosts, v), whole && !slices.Contains(known, v):
			problems = append(problems, "nobody reads "+v)
		}
	}
	return problems
}

// programVariables are the names that an example reads, and what it is made of:
// nothing yet, where there is no program.
func programVariables(t *testing.T, example string) (names, packages []string) {
	t.Helper()
	if files, err := filepath.Glob("../../examples/" + example + "/*.go"); err != nil || len(files) == 0 {
		return nil, nil
	}
	return variables(t, "./examples/"+example)
}

func TestMisread(t *testing.T) {
	hosts, known := []string{"CLEW_TABLE"}, []string{"CLEW_TABLE", "PAYMENTS_ROLE"}
	for _, c := range []struct {
		env   string
		whole bool
		want  string
	}{
		{"CLEW_TABLE PAYMENTS_ROLE OTEL_EXPORTER_OTLP_ENDPOINT", true, ""},
		{"PAYMENTS_ROLE", true, "CLEW_TABLE is not set"},
		{"CLEW_TABLE CLEW_TABEL", false, "nobody reads CLEW_TABEL"},
		{"CLEW_TABLE PAYMENTS_RULE", true, "nobody reads PAYMENTS_RULE"},
		{"CLEW_TABLE PAYMENTS_RULE", false, ""},
	} {
		env := map[string]any{}
		for _, v := range strings.Fields(c.env) {
			env[v] = "x"
		}
		if got := strings.Join(misread(env, hosts, hosts, known, c.whole), "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.env, got, c.want)
		}
	}
	if names, _ := variables(t, "./lambdahost/awsenv"); !slices.Contains(names, "CLEW_TABLE") || slices.Contains(names, "CLEW_SQS_REQUIRED") {
		t.Errorf("lambdahost/awsenv reads %v", names)
	}
}

// TestWrongTemplates: each mistake is found, and said so.
func TestWrongTemplates(t *testing.T) {
	code := theCode(t)
	for _, c := range []struct{ example, old, new, says string }{
		{"payments", "{AttributeName: d, KeyType: RANGE}", "{AttributeName: sk, KeyType: RANGE}", "CreateTable makes"},
		{"payments", "NonKeyAttributes: [st]", "NonKeyAttributes: [s]", "CreateTable makes"},
		{"payments", "{AttributeName: g, AttributeType: S}", "{AttributeName: g, AttributeType: N}", "CreateTable makes"},
		{"payments", "BillingMode: PAY_PER_REQUEST", "BillingMode: PROVISIONED", "billed by PROVISIONED"},
		{"payments", "{AttributeName: ttl, Enabled: true}", "{AttributeName: expires, Enabled: true}", "TTL is"},
		{"payments", "    DeletionPolicy: Retain\n", "    DeletionPolicy: Delete\n", "goes with the stack"},
		{"payments", "        - {AttributeName: sk, AttributeType: S}\n      KeySchema:", "        - {AttributeName: sk, AttributeType: N}\n      KeySchema:", "Books is"},
		{"payments", "VisibilityTimeout: 720", "VisibilityTimeout: 700", "six times"},
		{"payments", "Timeout: 120", "Timeout: 130", "six times"},
		{"payments", "maxReceiveCount: 5", "maxReceiveCount: 1", "given up after 1"},
		{"payments", "      SqsManagedSseEnabled: true\n      RedrivePolicy", "      RedrivePolicy", "not encrypted"},
		{"payments", "        TargetArn: !GetAtt DeadLetters.Arn", "        TargetArn: !GetAtt Queue.Arn", "one queue for both"},
		{"payments", "RecursiveLoop: Allow", "RecursiveLoop: Terminate", "CLEW_RECURSIVE_LOOP"},
		{"payments", "[ReportBatchItemFailures]", "[]", "failures by item"},
		{"payments", "rate(1 minute)", "rate(5 minutes)", "every minute"},
		{"payments", `'{"clew":"sweep"}'`, `'{"clew":"sweeps"}'`, "every minute"},
		{"payments", "AutoPublishAlias: live", "AutoPublishAlias: prod", `want "live"`},
		{"payments", "      AutoPublishCodeSha256: !Ref Release\n", "", "publishes no version"},
		{"payments", "              - dynamodb:Scan\n", "", "may not do dynamodb:Scan"},
		{"payments", "              - dynamodb:UpdateItem\n", "", "may not do dynamodb:UpdateItem"},
		{"payments", "              - dynamodb:UpdateItem\n", "              - dynamodb:*\n", "it allows dynamodb:*"},
		{"payments", "table/${Name}/index/attention", "table/${Name}/index/*", "on arn:aws:dynamodb:us-east-1:123456789012:table/Table/index/*"},
		{"payments", "table/${Name}/index/due", "table/${Name}/index/dew", "may not do dynamodb:Query on arn:aws:dynamodb:us-east-1:123456789012:table/Table/index/due"},
		{"payments", "              - sqs:SendMessage\n", "", "may not do sqs:SendMessage"},
		{"payments", "              - sqs:DeleteMessage\n", "", "may not do sqs:DeleteMessage"},
		{"payments", "function:${AWS::StackName}-sagas:*", "function:*", "may not do lambda:InvokeFunction"},
		{"payments", "function:${AWS::StackName}-sagas:*", "function:*", "it allows something on"},
		{"payments", "Action: lambda:InvokeFunctionUrl", "Action: lambda:GetFunction", "may not do lambda:InvokeFunctionUrl"},
		{"payments", `Bool: {"lambda:InvokedViaFunctionUrl": "true"}`, `Bool: {"aws:SecureTransport": "true"}`, "when lambda:InvokedViaFunctionUrl"},
		{"payments", "AuthType: AWS_IAM\n      LoggingConfig", "AuthType: NONE\n      LoggingConfig", "open to everybody"},
		{"payments", "dynamodb:ConditionCheckItem, dynamodb:GetItem, dynamodb:PutItem", "dynamodb:GetItem", "may not do dynamodb:PutItem"},
		{"payments", "RetentionInDays: !Ref LogDays", "KmsKeyId: x", "is not kept for a time"},
		{"payments", "MetricName: Lateness", "MetricName: Latency", "nobody emits Latency"},
		{"payments", "MetricName: Lateness", "MetricName: OldestDue", "no alarm for Lateness"},
		{"payments", "      Namespace: clew\n      MetricName: Parked", "      Namespace: Clew\n      MetricName: Parked", "nobody emits Parked"},
		{"payments", "Dimensions: [{Name: function,", "Dimensions: [{Name: Function,", "its dimension is"},
		{"payments", "TreatMissingData: breaching", "TreatMissingData: missing", "does not run is no alarm"},
		{"payments", "Value: !GetAtt DeadLetters.QueueName", "Value: !GetAtt Queue.QueueName", "want the dead letters"},
		{"payments", "      Role: !GetAtt SagasRole.Arn", "      Role: !GetAtt SagasRole.Arn\n      Policies: [AmazonDynamoDBFullAccess]", "besides those"},
		{"onboarding", "CLEW_QUEUE_URL: !Ref Queue", "CLEW_QUEUE_URL: !Ref DeadLetters", "it sends to"},
		{"onboarding", "            Action: sqs:SendMessage\n            Resource: !GetAtt Queue.Arn", "            Action: sqs:SendMessage\n            Resource: !GetAtt DeadLetters.Arn", "PagesRole may not do sqs:SendMessage"},
		{"onboarding", "CLEW_TABLE: !If [Restored, !Ref RestoredTable, !Ref Table]", "CLEW_TABLE: !Ref Books", "on arn:aws:dynamodb:us-east-1:123456789012:table/Books"},
		{"onboarding", "!GetAtt PagesUrl.FunctionUrl", "!GetAtt PagesURL.FunctionUrl", "leads nowhere"},
		{"onboarding", "!Ref Queue", "!Ref Queues", "leads nowhere"},
		{"onboarding", "      Dimensions: [", "      Dimensions: &d [", "no aliases"},
	} {
		text := readTemplate(t, c.example)
		if !strings.Contains(text, c.old) {
			t.Errorf("%s has no %q to replace", c.example, c.old)
			continue
		}
		var got string
		tmpl, err := evaluate(strings.Replace(text, c.old, c.new, 1), map[string]string{"Release": "1"})
		if err != nil {
			got = err.Error()
		} else {
			got = strings.Join(check(tmpl, code), "\n")
		}
		if !strings.Contains(got, c.says) {
			t.Errorf("%s with %q for %q: got %q, want it to say %q", c.example, c.new, c.old, got, c.says)
		}
	}
}
