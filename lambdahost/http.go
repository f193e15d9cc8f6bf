package lambdahost

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/aws/aws-lambda-go/events"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/lambdahttp"
)

// http answers an HTTP event. It runs no execution, so that whoever asks waits
// for none: what it makes due is woken.
func (v *visit) http(ctx context.Context, ev *events.LambdaFunctionURLRequest) ([]byte, error) {
	e, err := v.outside()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/callbacks/", Callbacks(e))
	if v.h.opts.HTTP != nil {
		mux.Handle("/", v.h.opts.HTTP(e))
	}
	out, err := lambdahttp.Serve(ctx, mux, ev)
	if err != nil {
		return json.Marshal(events.LambdaFunctionURLResponse{StatusCode: http.StatusBadRequest, Body: err.Error()})
	}
	return json.Marshal(out)
}

// maxBody bounds the body of a completion.
const maxBody = 6 << 20

// Callbacks is the handler of the routes by which callbacks are completed, for
// hosts that are no Lambda function:
//
//	POST /callbacks/ID/complete   the body, JSON, is the result; an empty one is null
//	POST /callbacks/ID/fail       the body, {"message": "…"}, is the error
//	POST /callbacks/ID/heartbeat
//
// It answers 204 once that is durable; 404 when there is no such callback or it
// has timed out; 409 when it was completed before; 410 when the execution has
// ended; 400 for a body that is no JSON; 413 for one that is too large; and 503
// when the store did not take it and it may be sent again. Whoever knows the ID
// may use it.
func Callbacks(e *durable.Engine) http.Handler {
	mux := http.NewServeMux()
	serve := func(act string, do func(r *http.Request, body []byte) error) {
		mux.HandleFunc("POST /callbacks/{id}/"+act, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err == nil {
				err = do(r, body)
			}
			if err == nil {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(statusOf(err))
			_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // whoever asked has gone if it fails
		})
	}
	serve("complete", func(r *http.Request, body []byte) error {
		if len(body) == 0 {
			body = []byte("null")
		}
		if !json.Valid(body) {
			return errBody
		}
		return e.CompleteCallback(r.Context(), r.PathValue("id"), json.RawMessage(body))
	})
	serve("fail", func(r *http.Request, body []byte) error {
		var failure struct {
			Message string `json:"message"`
		}
		if len(body) > 0 && json.Unmarshal(body, &failure) != nil {
			return errBody
		}
		if failure.Message == "" {
			failure.Message = "failed"
		}
		return e.FailCallback(r.Context(), r.PathValue("id"), errors.New(failure.Message))
	})
	serve("heartbeat", func(r *http.Request, _ []byte) error { return e.HeartbeatCallback(r.Context(), r.PathValue("id")) })
	return mux
}

var errBody = errors.New("the body is no JSON of the form that is wanted")

func statusOf(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errBody), errors.Is(err, durable.ErrInvalid):
		return http.StatusBadRequest
	case errors.As(err, &tooLarge), errors.Is(err, durable.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, durable.ErrNotOpen), errors.Is(err, durable.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, durable.ErrDelivered):
		return http.StatusConflict
	case errors.Is(err, durable.ErrEnded):
		return http.StatusGone
	}
	return http.StatusServiceUnavailable
}
