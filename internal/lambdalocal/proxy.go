package lambdalocal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// proxy stands before the SQS server and notes which message was sent in which
// chain of requests: SQS keeps the trace header of a request with the message,
// for Lambda to go on from.
type proxy struct {
	url     string
	backend string
	client  *http.Client

	mu     sync.Mutex
	traces map[string]string // message ID → trace header
}

func (l *Lambda) startProxy() error {
	p := &proxy{backend: strings.TrimSuffix(l.opts.SQS, "/"), traces: map[string]string{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}}
	e, err := l.listen(p)
	if err != nil {
		return err
	}
	p.url, l.proxy = e.url, p
	return nil
}

// ServeHTTP passes a request on.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, p.backend+r.URL.RequestURI(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out.Header, out.ContentLength = r.Header.Clone(), r.ContentLength
	resp, err := p.client.Do(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if header := r.Header.Get(traceHeader); header != "" && strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.SendMessage") {
		p.note(header, body)
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, bytes.NewReader(body)) // the client may have gone
}

// note remembers the messages that a response to SendMessage or
// SendMessageBatch names.
func (p *proxy) note(header string, response []byte) {
	var sent struct {
		MessageId  string //nolint:revive // the name in SQS
		Successful []struct{ MessageId string }
	}
	if json.Unmarshal(response, &sent) != nil {
		return // an error
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sent.MessageId != "" {
		p.traces[sent.MessageId] = header
	}
	for _, m := range sent.Successful {
		p.traces[m.MessageId] = header
	}
}

// traceOf is the header with which a message was sent, or the one that it
// carries itself.
func (p *proxy) traceOf(m *types.Message) string {
	if own := m.Attributes["AWSTraceHeader"]; own != "" {
		return own
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.traces[*m.MessageId]
}

// forget drops what was noted of a message that was deleted.
func (p *proxy) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.traces, id)
}

func newSQS(opts Options) *sqs.Client {
	return sqs.New(sqs.Options{BaseEndpoint: &opts.SQS, Region: opts.Region,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
}

// sendFailure sends an event that failed for good as Lambda does: the event as
// the body, what happened as attributes.
func (l *Lambda) sendFailure(queue string, f Failure) error {
	if l.sqs == nil {
		return fmt.Errorf("there is no SQS server: set Options.SQS")
	}
	text := func(s string) types.MessageAttributeValue {
		kind := "String"
		return types.MessageAttributeValue{DataType: &kind, StringValue: &s}
	}
	body := string(f.Payload)
	attributes := map[string]types.MessageAttributeValue{"RequestID": text(f.RequestID), "ErrorCode": text("200")}
	if message := string(f.Response); message != "" {
		attributes["ErrorMessage"] = text(message[:min(len(message), 1024)])
	}
	_, err := l.sqs.SendMessage(context.WithoutCancel(l.ctx), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body, MessageAttributes: attributes})
	return err
}
