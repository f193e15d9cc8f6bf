package lambdalocal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// sqsEvent is the event of a batch.
func sqsEvent(batch []types.Message, arn, region string) ([]byte, error) {
	var e events.SQSEvent
	for _, m := range batch {
		record := events.SQSMessage{MessageId: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body,
			Attributes: map[string]string{}, MessageAttributes: map[string]events.SQSMessageAttribute{},
			EventSource: "aws:sqs", EventSourceARN: arn, AWSRegion: region}
		if m.MD5OfBody != nil {
			record.Md5OfBody = *m.MD5OfBody
		}
		if m.MD5OfMessageAttributes != nil {
			record.Md5OfMessageAttributes = *m.MD5OfMessageAttributes
		}
		maps.Copy(record.Attributes, m.Attributes)
		for name, value := range m.MessageAttributes {
			record.MessageAttributes[name] = events.SQSMessageAttribute{StringValue: value.StringValue, BinaryValue: value.BinaryValue,
				StringListValues: []string{}, BinaryListValues: [][]byte{}, DataType: *value.DataType}
		}
		e.Records = append(e.Records, record)
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	return payload, nil
}

// taken are the messages that a batch's result says are done with. Lambda
// takes a response that it can't read, or that names a message which is not in
// the batch, as the failure of all.
func (p *Poller) taken(batch []types.Message, r *Result) []types.Message {
	if r.FunctionError != "" {
		return nil
	}
	if !p.mapping.ReportBatchItemFailures {
		return batch
	}
	failed, err := itemFailures(r.Payload)
	if err != nil {
		return nil
	}
	var taken []types.Message
	for _, m := range batch {
		if !failed[*m.MessageId] {
			taken = append(taken, m)
		}
		delete(failed, *m.MessageId)
	}
	if len(failed) > 0 {
		return nil
	}
	return taken
}

// itemFailures reads a response. Nothing, null and an empty list mean that
// all has succeeded.
func itemFailures(payload []byte) (map[string]bool, error) {
	failed := map[string]bool{}
	if len(bytes.TrimSpace(payload)) == 0 {
		return failed, nil
	}
	var response map[string]json.RawMessage
	if err := json.Unmarshal(payload, &response); err != nil {
		return nil, err
	}
	list, ok := response["batchItemFailures"]
	if !ok && len(response) > 0 {
		return nil, fmt.Errorf("there is no batchItemFailures in %s", payload)
	}
	if !ok {
		return failed, nil
	}
	var items []map[string]*string
	if err := json.Unmarshal(list, &items); err != nil {
		return nil, err
	}
	for _, item := range items {
		id := item["itemIdentifier"]
		if id == nil || *id == "" {
			return nil, fmt.Errorf("an item of %s has no itemIdentifier", payload)
		}
		failed[*id] = true
	}
	return failed, nil
}
