package lambdalocal

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func client(l *Lambda) *lambda.Client {
	return lambda.New(lambda.Options{BaseEndpoint: aws.String(l.URL()), Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
}

// The SDK's client invokes a version, and sees what the function knows of it.
func TestSDK(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Version: "7", MemoryMB: 256, Timeout: 20 * time.Second, Args: []string{"a", "b"}, Env: map[string]string{"OWN": "mine"}})
	if err := l.Alias("pay", "live", "7"); err != nil {
		t.Fatal(err)
	}
	clientContext := base64.StdEncoding.EncodeToString([]byte(`{"custom":{"k":"v"}}`))
	out, err := client(l).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("pay"), Qualifier: aws.String("live"),
		Payload: []byte(`{"Do":"describe"}`), LogType: types.LogTypeTail, ClientContext: &clientContext})
	if err != nil {
		t.Fatal(err)
	}
	got := decode[map[string]any](t, out.Payload)
	for name, want := range map[string]any{"AWS_LAMBDA_FUNCTION_NAME": "pay", "AWS_LAMBDA_FUNCTION_VERSION": "7",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_REGION": "us-east-1", "_HANDLER": "bootstrap",
		"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "OWN": "mine", "client": "v", "arn": l.ARN("pay:live")} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if left := got["left"].(float64); left <= 0 || left > 20_000 {
		t.Errorf("%v ms are left of 20 s", left)
	}
	if trace := got["_X_AMZN_TRACE_ID"].(string); !strings.Contains(trace, "Root=1-") || !strings.Contains(trace, "Lineage=") {
		t.Errorf("the trace is %q", trace)
	}
	if log, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult)); err != nil || !strings.Contains(string(log), `doing "describe"`) {
		t.Errorf("the log is %q (%v)", log, err)
	}
	if v := aws.ToString(out.ExecutedVersion); v != "7" || out.FunctionError != nil {
		t.Errorf("version %s ran with the error %v", v, out.FunctionError)
	}
}

func TestSDKErrors(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{})
	c := client(l)
	in := func(name, payload string) *lambda.InvokeInput {
		return &lambda.InvokeInput{FunctionName: &name, Payload: []byte(payload)}
	}
	out, err := c.Invoke(t.Context(), in("pay", `{"Do":"fail"}`))
	if err != nil || aws.ToString(out.FunctionError) != "Unhandled" || decode[FunctionError](t, out.Payload).Message != "told to fail" {
		t.Errorf("a function that fails gives %+v and %v", out, err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := c.Invoke(t.Context(), in("nobody", `{}`)); !errors.As(err, &missing) {
		t.Errorf("a function that is not there gives %v", err)
	}
	if _, err := c.Invoke(t.Context(), in("pay:9", `{}`)); !errors.As(err, &missing) {
		t.Errorf("a version that is not there gives %v", err)
	}
	var invalid *types.InvalidRequestContentException
	if _, err := c.Invoke(t.Context(), in("pay", `{`)); !errors.As(err, &invalid) {
		t.Errorf("a payload that is no JSON gives %v", err)
	}
	var large *types.RequestTooLargeException
	if _, err := c.Invoke(t.Context(), in("pay", `"`+strings.Repeat("x", maxPayload)+`"`)); !errors.As(err, &large) {
		t.Errorf("a payload that is too large gives %v", err)
	}
	var recursive *types.RecursiveInvocationException
	inLoop := func(o *lambda.Options) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(traceHeader, "Root=1-a;Lineage="+lineageHash("pay")+":15"))
	}
	if _, err := c.Invoke(t.Context(), in("pay", `{}`), inLoop); !errors.As(err, &recursive) {
		t.Errorf("the 17th invocation of a chain gives %v", err)
	}
	dry := in(l.ARN("pay"), `{}`)
	dry.InvocationType = types.InvocationTypeDryRun
	if out, err := c.Invoke(t.Context(), dry); err != nil || out.StatusCode != http.StatusNoContent {
		t.Errorf("a dry run gives %+v and %v", out, err)
	}
	if n := l.Stats("pay").Invocations; n != 1 {
		t.Errorf("the function ran %d times, want once", n)
	}
}

// A caller is turned away while all sandboxes are busy, and not later.
func TestThrottled(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Concurrency: 1, Timeout: time.Minute})
	c := client(l)
	file := t.TempDir() + "/begun"
	done := make(chan error, 1)
	go func() {
		_, err := l.Invoke(t.Context(), "pay", []byte(`{"Do":"sleep","For":"1500ms","File":"`+file+`"}`))
		done <- err
	}()
	until(t, func() bool { return len(lines(file)) == 1 })
	var throttled *types.TooManyRequestsException
	_, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("pay")})
	if !errors.As(err, &throttled) {
		t.Errorf("a second invocation beside one of one gives %v, want a 429", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r := invoke(t, l, "pay", `{}`); r.ColdStart {
		t.Error("the sandbox that became free was not used")
	}
	if n := l.Stats("pay").Throttles; n != 1 {
		t.Errorf("%d throttles are counted, want 1", n)
	}
}
