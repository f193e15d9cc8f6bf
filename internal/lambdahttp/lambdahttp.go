// Package lambdahttp lets an http.Handler answer what a Lambda function URL or
// an HTTP API sends, both in payload format 2.0.
package lambdahttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// Serve has h answer a request. The error says what is wrong with the event.
func Serve(ctx context.Context, h http.Handler, ev *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLResponse, error) {
	r, err := Request(ctx, ev)
	if err != nil {
		return nil, err
	}
	w := &writer{header: http.Header{}}
	h.ServeHTTP(w, r)
	if r.Method == http.MethodHead {
		w.body.Reset()
	}
	return w.response(), nil
}

// Request is the request that an event describes.
func Request(ctx context.Context, ev *events.LambdaFunctionURLRequest) (*http.Request, error) {
	body := []byte(ev.Body)
	if ev.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(ev.Body); err != nil {
			return nil, fmt.Errorf("the body of the HTTP event is not base64, as it says it is: %w", err)
		}
	}
	target := &url.URL{Scheme: "https", Host: ev.RequestContext.DomainName, RawQuery: ev.RawQueryString}
	var err error
	if target.Path, err = url.PathUnescape(ev.RawPath); err != nil {
		return nil, fmt.Errorf("the path %q of the HTTP event: %w", ev.RawPath, err)
	}
	target.RawPath = ev.RawPath
	r, err := http.NewRequestWithContext(ctx, ev.RequestContext.HTTP.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the HTTP event: %w", err)
	}
	for name, v := range ev.Headers {
		r.Header.Set(name, v)
	}
	if len(ev.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(ev.Cookies, "; "))
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	r.RemoteAddr, r.RequestURI = ev.RequestContext.HTTP.SourceIP, target.RequestURI()
	return r, nil
}

// writer keeps an answer.
type writer struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
	body   bytes.Buffer
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // those before it announce one, which there is no way to do here
		w.status, w.sent = status, maps.Clone(w.header)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		if w.header.Get("Content-Type") == "" {
			w.header.Set("Content-Type", http.DetectContentType(b))
		}
		w.WriteHeader(http.StatusOK)
	}
	return w.body.Write(b)
}

func (w *writer) response() *events.LambdaFunctionURLResponse {
	w.WriteHeader(http.StatusOK)
	out := &events.LambdaFunctionURLResponse{StatusCode: w.status, Headers: map[string]string{}, Cookies: w.sent["Set-Cookie"]}
	for name, v := range w.sent {
		if name != "Set-Cookie" {
			out.Headers[name] = strings.Join(v, ", ")
		}
	}
	if b := w.body.Bytes(); utf8.Valid(b) {
		out.Body = string(b)
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(b), true
	}
	return out
}
