package lambdalocal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// FunctionURL opens a function URL: an HTTP server whose requests invoke the
// function with events of format 2.0, as API Gateway's HTTP APIs send them
// too. The function's answer is mapped back: one with a status code as
// headers, cookies and body, any other as JSON. One that failed is a 502, a
// throttled one a 429.
func (l *Lambda) FunctionURL(function string) (string, error) {
	if _, _, err := l.find(function); err != nil {
		return "", err
	}
	e, err := l.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serveURL(w, r, function) }))
	if err != nil {
		return "", err
	}
	return e.url, nil
}

func (l *Lambda) serveURL(w http.ResponseWriter, r *http.Request, function string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil {
		return // the client has gone
	}
	payload, err := json.Marshal(urlEvent(r, body, l.opts.Account))
	if err != nil {
		httpError(w, http.StatusInternalServerError, err.Error())
		return
	}
	result, err := l.invoke(r.Context(), request{function: function, payload: payload, limit: maxPayload})
	switch {
	case errors.Is(err, ErrThrottled):
		httpError(w, http.StatusTooManyRequests, "Rate Exceeded")
	case errors.Is(err, ErrTooLarge):
		httpError(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case err != nil, result.FunctionError != "":
		httpError(w, http.StatusBadGateway, "Internal Server Error")
	default:
		writeURLResponse(w, result.Payload)
	}
}

func httpError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client may have gone
}

// urlEvent is the event of a request.
func urlEvent(r *http.Request, body []byte, account string) events.LambdaFunctionURLRequest {
	now := time.Now().UTC()
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	e := events.LambdaFunctionURLRequest{
		Version: "2.0", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery, Headers: map[string]string{},
		RequestContext: events.LambdaFunctionURLRequestContext{
			AccountID: account, RequestID: newRequestID(), APIID: "local", DomainName: r.Host, DomainPrefix: "local",
			Time: now.Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
			HTTP: events.LambdaFunctionURLRequestContextHTTPDescription{Method: r.Method, Path: r.URL.Path, Protocol: r.Proto,
				SourceIP: ip, UserAgent: r.UserAgent()},
		},
	}
	for name, values := range r.Header {
		if name = strings.ToLower(name); name != "cookie" {
			e.Headers[name] = strings.Join(values, ",")
		}
	}
	e.Headers["host"] = r.Host
	for _, c := range r.Cookies() {
		e.Cookies = append(e.Cookies, c.Name+"="+c.Value)
	}
	for name, values := range r.URL.Query() {
		if e.QueryStringParameters == nil {
			e.QueryStringParameters = map[string]string{}
		}
		e.QueryStringParameters[name] = strings.Join(values, ",")
	}
	if e.Body = string(body); !isText(r.Header.Get("Content-Type"), body) {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e
}

// isText says whether a body comes as it is. What is not declared as text, or
// is none, comes as base64.
func isText(kind string, body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	kind = strings.ToLower(kind)
	for _, text := range []string{"text/", "json", "javascript", "xml", "x-www-form-urlencoded"} {
		if strings.Contains(kind, text) {
			return true
		}
	}
	return kind == "" && len(body) == 0
}

// writeURLResponse maps the function's answer.
func writeURLResponse(w http.ResponseWriter, payload []byte) {
	var shape struct {
		StatusCode *int `json:"statusCode"`
	}
	var answer events.LambdaFunctionURLResponse
	if json.Unmarshal(payload, &shape) != nil || shape.StatusCode == nil || json.Unmarshal(payload, &answer) != nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(payload) // the client may have gone
		return
	}
	body := []byte(answer.Body)
	if answer.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			httpError(w, http.StatusBadGateway, "Internal Server Error")
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	for _, c := range answer.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	if answer.StatusCode < 100 || answer.StatusCode > 599 {
		httpError(w, http.StatusBadGateway, "Internal Server Error")
		return
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body) // the client may have gone
}
