package lambdahttp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/clewdev/clew/internal/lambdahttp"
)

// TestServe: what the handler gets and answers, as the two formats have it.
func TestServe(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hires/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		c, _ := r.Cookie("b")
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "too", Value: "2"})
		w.Header().Set("X-Got", r.Header.Get("X-Own"))
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("X-Late", "1")
		fmt.Fprint(w, r.Host, " ", r.PathValue("id"), " ", r.FormValue("q"), " ", string(body), " ", c.Value, " ", r.RemoteAddr, " ", err)
	})
	mux.HandleFunc("GET /raw", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("\x89PNG\r\n\x1a\n\xff")) })
	mux.HandleFunc("GET /early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "no")
	})
	mux.HandleFunc("GET /nothing", func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct{ event, want string }{
		{`{"version":"2.0","rawPath":"/hires/a%2Fb","rawQueryString":"q=1%202","cookies":["a=1","b=2"],"headers":{"x-own":"x","host":"h.example"},
			"requestContext":{"domainName":"d.example","http":{"method":"POST","sourceIp":"10.0.0.1"}},"body":"aGk=","isBase64Encoded":true}`,
			`{"statusCode":202,"headers":{"X-Got":"x"},"body":"h.example a/b 1 2 hi 2 10.0.0.1 \u003cnil\u003e","isBase64Encoded":false,"cookies":["seen=1","too=2"]}`},
		{`{"rawPath":"/raw","requestContext":{"http":{"method":"GET"}}}`,
			`{"statusCode":200,"headers":{"Content-Type":"image/png"},"body":"iVBORw0KGgr/","isBase64Encoded":true,"cookies":null}`},
		{`{"rawPath":"/raw","requestContext":{"http":{"method":"HEAD"}}}`,
			`{"statusCode":200,"headers":{"Content-Type":"image/png"},"body":"","isBase64Encoded":false,"cookies":null}`},
		{`{"rawPath":"/early","requestContext":{"http":{"method":"GET"}}}`,
			`{"statusCode":404,"headers":{},"body":"no","isBase64Encoded":false,"cookies":null}`},
		{`{"rawPath":"/nothing","requestContext":{"http":{"method":"GET"}}}`,
			`{"statusCode":200,"headers":{},"body":"","isBase64Encoded":false,"cookies":null}`},
	} {
		var ev events.LambdaFunctionURLRequest
		if err := json.Unmarshal([]byte(c.event), &ev); err != nil {
			t.Fatal(err)
		}
		out, err := lambdahttp.Serve(t.Context(), mux, &ev)
		if err != nil {
			t.Fatal(err)
		}
		var want events.LambdaFunctionURLResponse
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*out, want) {
			t.Errorf("got %+v\nwant %+v", *out, want)
		}
	}
}

// TestServeRefuses: what is no request is told.
func TestServeRefuses(t *testing.T) {
	get := events.LambdaFunctionURLRequestContext{HTTP: events.LambdaFunctionURLRequestContextHTTPDescription{Method: "GET"}}
	for _, ev := range []events.LambdaFunctionURLRequest{
		{RawPath: "/", Body: "%%", IsBase64Encoded: true, RequestContext: get},
		{RawPath: "/%zz", RequestContext: get},
		{RawPath: "/", RequestContext: events.LambdaFunctionURLRequestContext{HTTP: events.LambdaFunctionURLRequestContextHTTPDescription{Method: "no method"}}},
	} {
		if out, err := lambdahttp.Serve(t.Context(), http.NotFoundHandler(), &ev); err == nil {
			t.Errorf("%+v: got %+v, want an error", ev, out)
		}
	}
}
