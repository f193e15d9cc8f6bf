package participant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
)

// Client calls the participants. Every method is one HTTP request, never
// repeated by itself, and returns when ctx ends, at the latest. key is the
// idempotency key of the call; attempt is only logged.
//
// The error is a *Rejected when the participant refused for good, or until
// somebody has mended it (CodeJammed), and this attempt had no effect. Any other error means that the outcome is unknown.
// Methods are safe for concurrent use.
type Client struct {
	urls map[Role]string
	http *http.Client
}

// Rejected is the error of a call that a participant refused: a business
// refusal, or the refusal of a forward call whose key was undone or verified as
// having no effect before.
type Rejected struct {
	Call    string // such as "authorize"
	Code    string // such as CodeDeclined
	Message string
}

func (e *Rejected) Error() string {
	return fmt.Sprintf("participant: %s rejected: %s (%s)", e.Call, e.Message, e.Code)
}

// NewClient returns a client for participants at these base URLs, each such as
// http://127.0.0.1:8080; At gives all of them one. Calls go to paths below:
// URL/gateway/authorize. transport sends the requests, and may sign them; nil
// stands for one of the client's own. It must send each request once at most.
//
// The error names a participant without a URL, or with one that is none.
func NewClient(urls map[Role]string, transport http.RoundTripper) (*Client, error) {
	c := &Client{urls: make(map[Role]string), http: &http.Client{
		Transport: transport,
		// An answer from elsewhere is none of a participant.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, role := range roles {
		base, err := url.Parse(urls[role])
		if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.Fragment != "" {
			return nil, fmt.Errorf("participant: the URL of the %s is %q: want one like http://127.0.0.1:8080", role, urls[role])
		}
		c.urls[role] = strings.TrimRight(urls[role], "/")
	}
	if transport == nil {
		c.http.Transport = NewTransport()
	}
	return c, nil
}

// At is the argument of NewClient for participants that share one base URL.
func At(url string) map[Role]string {
	urls := make(map[Role]string)
	for _, role := range roles {
		urls[role] = url
	}
	return urls
}

// NewTransport returns the transport of clients that are given none. It keeps
// more idle connections than net/http's does, because a worker's sagas come in
// waves.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment, // which leaves the loopback interface alone
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
}

// Authorize holds an amount on a card and returns the authorization.
func (c *Client) Authorize(ctx context.Context, key string, attempt int, order, card string, amountCents int64) (string, error) {
	r, err := c.call(ctx, "authorize", key, attempt, request{Order: order, Card: card, AmountCents: amountCents})
	return r.ID, err
}

// Void undoes the Authorize call with the key forwardKey.
func (c *Client) Void(ctx context.Context, key string, attempt int, forwardKey string) error {
	_, err := c.call(ctx, "void", key, attempt, request{ForwardKey: forwardKey})
	return err
}

// Capture takes the money of an authorization and returns the capture.
func (c *Client) Capture(ctx context.Context, key string, attempt int, order, authorization string, amountCents int64) (string, error) {
	r, err := c.call(ctx, "capture", key, attempt, request{Order: order, Authorization: authorization, AmountCents: amountCents})
	return r.ID, err
}

// VerifyCapture tells whether the Capture call with this key happened, and
// then which capture it made. When it did not, it can no longer happen.
func (c *Client) VerifyCapture(ctx context.Context, key string, attempt int) (capture string, happened bool, err error) {
	r, err := c.call(ctx, "verify_capture", key, attempt, request{})
	return r.ID, r.Happened, err
}

// Reserve sets stock aside and returns the reservation.
func (c *Client) Reserve(ctx context.Context, key string, attempt int, order, sku string, qty int) (string, error) {
	r, err := c.call(ctx, "reserve", key, attempt, request{Order: order, SKU: sku, Qty: qty})
	return r.ID, err
}

// Release undoes the Reserve call with the key forwardKey.
func (c *Client) Release(ctx context.Context, key string, attempt int, forwardKey string) error {
	_, err := c.call(ctx, "release", key, attempt, request{ForwardKey: forwardKey})
	return err
}

// Screen scores an order for fraud, holds a slot for it in the screening, and
// returns the slot. An order that scores too high is refused.
func (c *Client) Screen(ctx context.Context, key string, attempt int, order, card string, amountCents int64) (string, error) {
	r, err := c.call(ctx, "screen", key, attempt, request{Order: order, Card: card, AmountCents: amountCents})
	return r.ID, err
}

// Dismiss undoes the Screen call with the key forwardKey.
func (c *Client) Dismiss(ctx context.Context, key string, attempt int, forwardKey string) error {
	_, err := c.call(ctx, "dismiss", key, attempt, request{ForwardKey: forwardKey})
	return err
}

// CheckAddress returns the address as it is to be printed. It has no effect.
func (c *Client) CheckAddress(ctx context.Context, key string, attempt int, order, address string) (string, error) {
	r, err := c.call(ctx, "check_address", key, attempt, request{Order: order, Address: address})
	return r.ID, err
}

// Ship sends what was reserved and returns the tracking number.
func (c *Client) Ship(ctx context.Context, key string, attempt int, order, reservation string) (string, error) {
	r, err := c.call(ctx, "ship", key, attempt, request{Order: order, Reservation: reservation})
	return r.ID, err
}

// Receipt posts the sale and returns the ledger entry.
func (c *Client) Receipt(ctx context.Context, key string, attempt int, order string, amountCents int64) (string, error) {
	r, err := c.call(ctx, "receipt", key, attempt, request{Order: order, AmountCents: amountCents})
	return r.ID, err
}

func (c *Client) call(ctx context.Context, kind, key string, attempt int, input request) (reply, error) {
	r, err := c.send(ctx, kind, key, attempt, input)
	var rejected *Rejected
	if err != nil && !errors.As(err, &rejected) {
		err = fmt.Errorf("participant: %s %s: %w", services[kind].role, kind, err)
	}
	return r, err
}

func (c *Client) send(ctx context.Context, kind, key string, attempt int, input request) (reply, error) {
	role := services[kind].role
	address := c.urls[role] + "/" + string(role) + "/" + kind
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewBufferString(canonical(&input)))
	if err != nil {
		return reply{}, err
	}
	// net/http repeats a request by itself when it carries an idempotency key,
	// its connection was reused, and the answer was lost. How often a call is
	// made is for the saga to decide and to know; without a way to read the
	// body again there is no repeating.
	req.GetBody = nil
	req.Header.Set(headerKey, key)
	req.Header.Set(headerAttempt, strconv.Itoa(attempt))
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(req.Header)) // nothing, unless this process exports traces
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // its URL says no more than the name of the call
		}
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	return decode(kind, resp.StatusCode, body)
}

func decode(kind string, status int, body []byte) (reply, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return reply{}, fmt.Errorf("answer %d: %w", status, err)
	}
	switch status {
	case http.StatusOK:
		return r, nil
	case http.StatusPaymentRequired, http.StatusConflict:
		// Who has no code is no participant, but something on the way to it,
		// which cannot vouch for what has happened.
		if r.Code != "" {
			return reply{}, &Rejected{Call: kind, Code: r.Code, Message: r.Message}
		}
	}
	return reply{}, fmt.Errorf("%d %s: %s", status, r.Code, r.Message)
}
