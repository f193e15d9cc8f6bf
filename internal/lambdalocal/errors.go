package lambdalocal

import (
	"encoding/json"
	"errors"
	"fmt"
)

// What the service itself refuses. Nothing has run.
var (
	// ErrThrottled: no sandbox is free and no more may be started (429).
	ErrThrottled = errors.New("lambdalocal: TooManyRequestsException: Rate Exceeded")
	// ErrNotFound: there is no such function, version or alias (404).
	ErrNotFound = errors.New("lambdalocal: ResourceNotFoundException: function not found")
	// ErrRecursive: the function has been in this chain 16 times (400).
	ErrRecursive = errors.New("lambdalocal: RecursiveInvocationException: the function was invoked too often in one chain of requests")
	// ErrPayload: the payload is not JSON (400).
	ErrPayload = errors.New("lambdalocal: InvalidRequestContentException: could not parse request body into json")
	// ErrTooLarge: the payload is larger than Lambda takes (413).
	ErrTooLarge = errors.New("lambdalocal: RequestTooLargeException: the payload is too large")
	// ErrClosed: the Lambda was closed.
	ErrClosed = errors.New("lambdalocal: closed")
)

// FunctionError is what a function failed with, or what became of it.
type FunctionError struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e *FunctionError) Error() string { return fmt.Sprintf("%s: %s", e.Type, e.Message) }

// The types of errors that the function does not report itself.
const (
	TypeTimeout   = "Sandbox.Timedout"
	TypeExit      = "Runtime.ExitError"
	TypeNoAnswer  = "Runtime.InvalidNext"
	typeTruncated = "Function.ResponseSizeTooLarge"
)

func failed(id, kind, format string, args ...any) reply {
	payload, err := json.Marshal(&FunctionError{Type: kind, Message: fmt.Sprintf("RequestId: %s Error: ", id) + fmt.Sprintf(format, args...)})
	if err != nil {
		panic(err) // two strings
	}
	return reply{payload: payload, failed: true}
}
