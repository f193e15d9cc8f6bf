package lambdalocal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	apiPrefix = "/2015-03-31/functions/"
	apiSuffix = "/invocations"
)

// serveAPI is the action Invoke of the Lambda API.
func (l *Lambda) serveAPI(w http.ResponseWriter, r *http.Request) {
	path, err := url.PathUnescape(r.URL.EscapedPath())
	name, isInvoke := strings.CutSuffix(strings.TrimPrefix(path, apiPrefix), apiSuffix)
	if err != nil || r.Method != http.MethodPost || !isInvoke || !strings.HasPrefix(path, apiPrefix) {
		refuseAPI(w, http.StatusNotFound, "UnknownOperationException", "lambdalocal has the action Invoke only, and this is "+r.Method+" "+r.URL.Path, "")
		return
	}
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil {
		return // the client has gone
	}
	if qualifier := r.URL.Query().Get("Qualifier"); qualifier != "" {
		name += ":" + qualifier
	}
	req := request{function: name, payload: payload, traceHeader: r.Header.Get(traceHeader), limit: maxPayload}
	if c, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-Client-Context")); err == nil {
		req.clientContext = string(c)
	}
	switch kind := r.Header.Get("X-Amz-Invocation-Type"); kind {
	case "", "RequestResponse":
		l.answerSync(w, r, req)
	case "Event":
		l.answerEvent(w, req)
	case "DryRun":
		if _, _, err := l.find(name); err != nil {
			refuseError(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		refuseAPI(w, http.StatusBadRequest, "InvalidParameterValueException", "there is no invocation type "+kind, "")
	}
}

func (l *Lambda) answerSync(w http.ResponseWriter, r *http.Request, req request) {
	result, err := l.invoke(r.Context(), req)
	if err != nil {
		refuseError(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-Requestid", result.RequestID)
	h.Set("X-Amz-Executed-Version", result.Version)
	if result.FunctionError != "" {
		h.Set("X-Amz-Function-Error", result.FunctionError)
	}
	if r.Header.Get("X-Amz-Log-Type") == "Tail" {
		h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(result.LogTail)))
	}
	_, _ = w.Write(result.Payload) // the client may have gone
}

func (l *Lambda) answerEvent(w http.ResponseWriter, req request) {
	req.limit = maxEventPayload
	id, err := l.enqueue(req)
	if err != nil {
		refuseError(w, err)
		return
	}
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(http.StatusAccepted)
}

func refuseError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrThrottled):
		refuseAPI(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.", "ReservedFunctionConcurrentInvocationLimitExceeded")
	case errors.Is(err, ErrNotFound):
		refuseAPI(w, http.StatusNotFound, "ResourceNotFoundException", err.Error(), "")
	case errors.Is(err, ErrRecursive):
		refuseAPI(w, http.StatusBadRequest, "RecursiveInvocationException", err.Error(), "")
	case errors.Is(err, ErrPayload):
		refuseAPI(w, http.StatusBadRequest, "InvalidRequestContentException", err.Error(), "")
	case errors.Is(err, ErrTooLarge):
		refuseAPI(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", err.Error(), "")
	default:
		refuseAPI(w, http.StatusInternalServerError, "ServiceException", err.Error(), "")
	}
}

func refuseAPI(w http.ResponseWriter, status int, kind, message, reason string) {
	body := map[string]string{"Type": "User", "Message": message, "message": message}
	if reason != "" {
		body["Reason"] = reason
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
